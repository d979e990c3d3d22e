/** What the names in an operation stand for, on the server that it is sent to and in the moment in which it is sent. */
import { NO_LEASE, type Symbolic } from './operations.ts';

export interface Meanings {
  readonly leaseIds: ReadonlyMap<number, bigint>;
  /** The revision to which a distance is added. */
  revision(name: string): number;
  /** The request holds a large value. */
  onFill(): void;
}

/** The request with every name replaced. */
export function resolved<T extends object>(
  symbolic: Symbolic<T>,
  { leaseIds, revision, onFill }: Meanings,
): Partial<T> {
  const walk = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
    if (Array.isArray(value)) return value.map(walk);
    if ('fill' in value) {
      onFill();
      return Buffer.alloc(value.fill as number, 'x');
    }
    if ('leaseIn' in value) return leaseIds.get(value.leaseIn as number) ?? NO_LEASE;
    if ('revisionOf' in value) {
      return revision(value.revisionOf as string) + (value as unknown as { plus: number }).plus;
    }
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, walk(field)]));
  };
  return walk(symbolic) as Partial<T>;
}
