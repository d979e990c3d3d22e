/** The history of all keys, taken apart: what each operation did to each key, for the search for an order. */
import type { Operation } from './history.ts';
import { isOpen } from './history.ts';
import type { Step } from './linearizability.ts';
import { MISSING, type Replay } from './replay.ts';
import { actionsOf } from './requests.ts';

/**
 * Keys on leases are left out: they are deleted by nobody's operation. An operation with an open outcome counts if the
 * log has it, at any time after its call; one that never came into the log did nothing, and a read of what it would
 * have written finds no explanation.
 */
export function stepsByKey(
  operations: readonly Operation[],
  replay: Pick<Replay, 'entryOf' | 'place'>,
): Map<string, Step[]> {
  const byKey = new Map<string, Step[]>();
  const add = (key: string, step: Step) => {
    if (!key.startsWith('k')) return;
    const steps = byKey.get(key) ?? [];
    steps.push(step);
    byKey.set(key, steps);
  };
  for (const operation of operations) {
    const { calledAt, returnedAt, request, seen, local } = operation;
    const when = { calledAt, returnedAt };
    if (request !== undefined) {
      const result = isOpen(operation) ? replay.entryOf(operation)?.result : operation.result;
      if (result === undefined) continue;
      const hint = replay.place(operation);
      for (const [key, action] of actionsOf(request, result)) add(key, { ...when, action, hint });
    } else if (!local && seen !== undefined) {
      const hint = replay.place(operation);
      for (const [key, value] of seen) {
        add(key, { ...when, action: { kind: 'read', value: value === MISSING ? undefined : value }, hint });
      }
    }
  }
  return byKey;
}
