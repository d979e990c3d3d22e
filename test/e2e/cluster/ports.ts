/** Ports for members that are stopped and started again on the same port: the benches and the tests choose them alike. */
export { steadyPort } from '../../../bench/ports.ts';
