import { describe, expect, it } from 'vitest';
import { LoginTokens } from '../../core/auth/login-tokens.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';

const hash = (name: string) => name.padEnd(32, '.');
const names = (tokens: LoginTokens) => [...tokens.all()].map((token) => token.hash.replaceAll('.', ''));

function fresh(total = 100, perUser = 100) {
  const backend = new MemoryBackend((task) => task());
  const tokens = new LoginTokens(backend, { total, perUser });
  const restored = () => {
    const again = new LoginTokens(backend, { total, perUser });
    again.restore(backend);
    return again;
  };
  return { tokens, restored };
}

describe('tokens', () => {
  it('end by name, with their user, or all', () => {
    const { tokens, restored } = fresh();
    let index = 10;
    for (const [name, user] of [
      ['a', 'u'],
      ['b', 'u'],
      ['c', 'v'],
      ['d', 'v'],
    ] as const)
      tokens.add(hash(name), user, index++);
    tokens.end([hash('c'), hash('gone')]);
    expect(names(tokens)).toEqual(['a', 'b', 'd']);
    tokens.endOf('u');
    tokens.endOf('nobody');
    expect([names(tokens), tokens.size, tokens.get(hash('a'))]).toEqual([['d'], 1, undefined]);
    expect(names(restored())).toEqual(['d']);
    tokens.endAll();
    expect([tokens.size, restored().size]).toEqual([0, 0]);
  });

  it('beyond the bounds drive out the one unrenewed for longest: first of the same user', () => {
    const { tokens, restored } = fresh(4, 2);
    tokens.add(hash('a'), 'u', 1);
    tokens.add(hash('b'), 'u', 2);
    tokens.renew([hash('a')], 3);
    tokens.add(hash('c'), 'u', 4);
    expect(names(tokens)).toEqual(['a', 'c']);
    tokens.add(hash('d'), 'v', 5);
    tokens.add(hash('e'), 'w', 6);
    expect(names(tokens)).toEqual(['a', 'c', 'd', 'e']);
    tokens.add(hash('f'), 'x', 7);
    expect(names(tokens)).toEqual(['c', 'd', 'e', 'f']);
    expect(names(restored())).toEqual(['c', 'd', 'e', 'f']);
  });

  it('are in the same order after a restart, those renewed together too', () => {
    const { tokens, restored } = fresh();
    for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) tokens.add(hash(name), 'u', i + 1);
    tokens.renew([hash('c'), hash('gone'), hash('a')], 9);
    expect(names(tokens)).toEqual(['b', 'd', 'c', 'a']);
    expect(names(restored())).toEqual(['b', 'd', 'c', 'a']);
    expect(restored().get(hash('a')), 'its number stays').toMatchObject({ index: 1, renewed: 9, place: 1 });
  });
});
