/** What other members answer over HTTP, as schemas: it is checked like anything from outside. */
import { z } from 'zod';

const UINT64_MAX = 2n ** 64n - 1n;

/** Of `/members`; the ids as strings. */
export const membersSchema = z.array(
  z.object({
    id: z
      .string()
      .regex(/^\d{1,20}$/)
      .transform(BigInt)
      .refine((id) => id > 0n && id <= UINT64_MAX),
    peerURLs: z.array(z.string()),
    isLearner: z.boolean().default(false),
    name: z.string().default(''),
    clientURLs: z.array(z.string()).nullish(),
  }),
);

/** Of `/version`. */
export const versionSchema = z.object({
  etcdserver: z.string(),
  etcdcluster: z.string(),
  storage: z.string().default(''),
});
/** Of `/members/hashkv`. */
export const hashSchema = z.object({
  hash: z.number().int(),
  revision: z.number().int(),
  compactRevision: z.number().int(),
  currentRevision: z.number().int(),
});
/** What versions a member has. */
export type MemberVersion = z.infer<typeof versionSchema>;
