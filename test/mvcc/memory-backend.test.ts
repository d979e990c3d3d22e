import { describe, expect, it } from 'vitest';
import { MemoryBackend, MemoryDisk } from '../../core/mvcc/memory-backend.ts';
import { fromByteString } from '../../core/util/bytes.ts';
import { backendConformance } from '../conformance/backend.ts';

backendConformance('MemoryBackend', () => {
  const disk = new MemoryDisk();
  return { open: () => new MemoryBackend(setImmediate, disk), remove: () => {} };
});

describe('MemoryBackend', () => {
  it('loses the commits whose tasks never ran', () => {
    const tasks: (() => void)[] = [];
    const backend = new MemoryBackend((task) => tasks.push(task));
    const done: number[] = [];
    for (let i = 1; i <= 3; i++) {
      backend.put('meta', 'n', fromByteString(String(i)));
      backend.commit(() => done.push(i));
    }
    tasks[0]!();
    tasks[1]!();
    const revived = new MemoryBackend((task) => tasks.push(task), backend.disk);
    expect(revived.get('meta', 'n')).toEqual(fromByteString('2'));
    expect(done).toEqual([1, 2]);
    expect(backend.get('meta', 'n')).toEqual(fromByteString('3'));
  });
});
