/**
 * Every way in which a crash may cut short what is under way on a disk: which of the operations happened, and of the
 * writes which pages, torn at which sector, with what in the place of the rest. Owns the enumeration and its bounds.
 */
import type { DiskOperation, MemoryDisk, Survives } from '../../core/log/memory-disk.ts';
import { Prng } from '../../core/util/prng.ts';

/** Up to so many pages (and other operations) under way all their subsets are tried; of more, so many drawn ones. */
const PIECES_MAX = 8;
export const DRAWS = 64;

const SECTOR_BYTES = 512;

type Write = DiskOperation & { readonly kind: 'write' };

/** What a file held in an earlier life, at a place; `undefined` when there was none. */
export type Stale = (offset: number, length: number) => Uint8Array | undefined;

/** A part of an operation that happens as a whole or not at all; `from` and `to` are bytes of the file. */
interface Piece {
  readonly operation: DiskOperation;
  readonly from: number;
  readonly to: number;
}

function piecesOf(operation: DiskOperation, pageBytes: number): Piece[] {
  if (operation.kind !== 'write') return [{ operation, from: 0, to: 0 }];
  const end = operation.offset + operation.bytes.length;
  const pieces: Piece[] = [];
  for (let from = operation.offset; from < end; ) {
    const to = Math.min(end, (Math.floor(from / pageBytes) + 1) * pageBytes);
    pieces.push({ operation, from, to });
    from = to;
  }
  return pieces;
}

/** Lists of what happened, piece by piece. */
function* subsets(count: number, draws: number): Generator<boolean[]> {
  const all = Array.from({ length: count }, (_, i) => i);
  if (count <= PIECES_MAX) {
    for (let mask = 0; mask < 1 << count; mask++) yield all.map((i) => ((mask >> i) & 1) === 1);
    return;
  }
  for (let n = 0; n <= count; n++) yield all.map((i) => i < n);
  for (let n = 0; n < count; n++) {
    yield all.map((i) => i === n);
    yield all.map((i) => i !== n);
  }
  const random = new Prng(count);
  for (let n = 0; n < draws; n++) yield all.map(() => random.int(8) < 1 + (n % 7));
}

/** The disk with those pieces happened, of the others nothing. */
function after(disk: MemoryDisk, pieces: readonly Piece[], happened: readonly boolean[], kill: boolean): MemoryDisk {
  const survives: Survives = (operation, sector) => {
    const sectorFrom = operation.kind === 'write' ? Math.floor(operation.offset / SECTOR_BYTES) + sector : 0;
    return pieces.some(
      (piece, i) =>
        happened[i] === true &&
        piece.operation === operation &&
        (operation.kind !== 'write' ||
          (piece.from < (sectorFrom + 1) * SECTOR_BYTES && piece.to > sectorFrom * SECTOR_BYTES)),
    );
  };
  return kill ? disk.afterKill(survives) : disk.afterPowerLoss(survives);
}

/** Whether the write would change anything there: what is written over itself reads as it was, whatever happens. */
function changes(disk: MemoryDisk, { operation, from, to }: Piece): boolean {
  const { name, offset, bytes } = operation as Write;
  const now = new Uint8Array(to - from);
  disk.read(name, from, now);
  return Buffer.compare(now, bytes.subarray(from - offset, to - offset)) !== 0;
}

function fill(image: MemoryDisk, { operation, from, to }: Piece, bytes: Uint8Array): void {
  if (!image.list().includes(operation.name)) return;
  image.write(operation.name, from, bytes.subarray(0, to - from), { alone: false }, () => {});
  image.settle();
}

/** The same state with zeros, and with stale bytes, where pages of a write are missing. Not where those are not new. */
function* torn(
  disk: MemoryDisk,
  pieces: readonly Piece[],
  happened: readonly boolean[],
  stale: Stale,
): Generator<MemoryDisk> {
  yield after(disk, pieces, happened, false);
  const missing = pieces.filter(
    (piece, i) => happened[i] !== true && piece.operation.kind === 'write' && changes(disk, piece),
  );
  if (missing.length === 0) return;
  for (const content of [zeros, stale]) {
    const found = missing.map(({ from, to }) => content(from, to - from));
    if (found.includes(undefined)) continue;
    const image = after(disk, pieces, happened, false);
    for (const [i, piece] of missing.entries()) fill(image, piece, found[i]!);
    yield image;
  }
}

function zeros(_offset: number, length: number): Uint8Array {
  return new Uint8Array(length);
}

/**
 * The disk after each crash that is possible now. `pageBytes`: 512 or 4096, the pages that reach the medium as a whole,
 * except that one page of 4096 may be torn between its sectors.
 */
export function* crashStates(
  disk: MemoryDisk,
  pageBytes: number,
  stale: Stale,
  draws: number = DRAWS,
): Generator<MemoryDisk> {
  const pieces = disk.pending.flatMap((operation) => piecesOf(operation, pageBytes));
  for (const happened of subsets(pieces.length, draws)) {
    yield* torn(disk, pieces, happened, stale);
    yield after(disk, pieces, happened, true);
  }
  if (pageBytes > SECTOR_BYTES) yield* tornPages(disk, pieces, stale);
}

/** One page torn at each of its sectors, either way round, the pages before it written, those after it or none. */
function* tornPages(disk: MemoryDisk, pieces: readonly Piece[], stale: Stale): Generator<MemoryDisk> {
  for (const [at, page] of pieces.entries()) {
    if (page.operation.kind !== 'write') continue;
    const sectors = piecesOf(page.operation, SECTOR_BYTES).filter(({ from, to }) => from >= page.from && to <= page.to);
    const split = [...pieces.slice(0, at), ...sectors, ...pieces.slice(at + 1)];
    for (let cut = 1; cut < sectors.length; cut++) {
      const isBefore = (i: number) => i < at + cut;
      yield* torn(
        disk,
        split,
        split.map((_, i) => isBefore(i)),
        stale,
      );
      yield* torn(
        disk,
        split,
        split.map((_, i) => i < at || !isBefore(i)),
        stale,
      );
    }
  }
}
