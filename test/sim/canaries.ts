/** The known bugs that the simulator must find, all of them. */
import { BORDER_CANARIES } from './canaries-borders.ts';
import { DRIVER_CANARIES } from './canaries-driver.ts';
import { RAFT_CANARIES } from './canaries-raft.ts';
import { STATE_CANARIES } from './canaries-state.ts';
import type { Canary } from './canary.ts';

export const CANARIES: readonly Canary[] = [
  ...BORDER_CANARIES,
  ...RAFT_CANARIES,
  ...DRIVER_CANARIES,
  ...STATE_CANARIES,
];

/** Throws when there is none of that name. */
export function findCanary(name: string): Canary {
  const found = CANARIES.find((canary) => canary.name === name);
  if (found === undefined) throw new Error(`there is no canary "${name}"`);
  return found;
}
