/** What the operations of the v2 API are called in the access table. No transport has them under these names. */

export const V2_READ = '/roster.V2/Read';
export const V2_WRITE = '/roster.V2/Write';
export const V2_WATCH = '/roster.V2/Watch';
/** Statistics and addresses. */
export const V2_MEMBER = '/roster.V2/Member';
/** Users and roles. */
export const V2_ADMIN = '/roster.V2/Admin';
