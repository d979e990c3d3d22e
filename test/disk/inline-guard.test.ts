import { describe, expect, it } from 'vitest';
import {
  FORGIVEN_WRITES,
  INLINE_BYTES_MAX,
  INLINE_MILLISECONDS_MAX,
  InlineGuard,
  PAUSE_WRITES_MAX,
  PAUSE_WRITES_MIN,
} from '../../server/disk/inline-guard.ts';

const FAST = INLINE_MILLISECONDS_MAX;
const SLOW = INLINE_MILLISECONDS_MAX + 0.001;

/** Lone writes that go to the pool until one is allowed again, which is not counted. */
function pause(guard: InlineGuard): number {
  let writes = 0;
  while (!guard.allows(100)) writes++;
  return writes;
}

describe('InlineGuard', () => {
  it('allows small writes while the disk is fast', () => {
    const guard = new InlineGuard();
    for (let i = 0; i < 1000; i++) {
      expect(guard.allows(INLINE_BYTES_MAX)).toBe(true);
      guard.took(FAST);
    }
    expect(guard.allows(INLINE_BYTES_MAX + 1)).toBe(false);
  });

  it('pauses after a slow one, longer each time, up to a limit, and always tries again', () => {
    const guard = new InlineGuard();
    const pauses: number[] = [];
    for (let i = 0; i < 12; i++) {
      expect(guard.allows(100) || i > 0).toBe(true);
      guard.took(SLOW);
      pauses.push(pause(guard));
    }
    expect(pauses.slice(0, 4)).toEqual([
      PAUSE_WRITES_MIN,
      PAUSE_WRITES_MIN * 2,
      PAUSE_WRITES_MIN * 4,
      PAUSE_WRITES_MIN * 8,
    ]);
    expect(pauses.slice(-3)).toEqual([PAUSE_WRITES_MAX, PAUSE_WRITES_MAX, PAUSE_WRITES_MAX]);
  });

  it('forgives a disk that has become fast again, step by step', () => {
    const guard = new InlineGuard();
    for (let i = 0; i < 3; i++) {
      guard.took(SLOW);
      pause(guard);
    }
    for (let i = 0; i < FORGIVEN_WRITES; i++) guard.took(FAST);
    guard.took(SLOW);
    expect(pause(guard)).toBe(PAUSE_WRITES_MIN * 4);
    for (let i = 0; i < FORGIVEN_WRITES * 20; i++) guard.took(FAST);
    guard.took(SLOW);
    expect(pause(guard)).toBe(PAUSE_WRITES_MIN);
  });
});
