/**
 * Changes the text of modules while they are loaded, for canaries: production code with a known bug in it, and no switch
 * for that anywhere in production code. A text that is not there exactly once is an error: the code has moved on, and the
 * canary must follow.
 */
import type { LoadHook } from 'node:module';

/** In the compiled `file` (`core/raft/leadership`), `replace` takes the place of `find`. */
export interface Patch {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

let patches: readonly Patch[] = [];

export function initialize(data: readonly Patch[]): void {
  patches = data;
}

export function patched(text: string, { file, find, replace }: Patch): string {
  const pieces = text.split(find);
  if (pieces.length !== 2) throw new Error(`canary: ${pieces.length - 1} times in ${file}: ${find}`);
  return pieces.join(replace);
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  const here = patches.filter(({ file }) => url.endsWith(`/${file}.js`));
  if (here.length === 0) return loaded;
  return { ...loaded, source: here.reduce(patched, Buffer.from(loaded.source as Uint8Array).toString()) };
};
