/** Each checker is shown what it is there to find, and what it must let pass: one that cannot fail is worth nothing. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createStateMachine } from '../../core/apply/create.ts';
import type { StateMachine } from '../../core/apply/state-machine.ts';
import { rosterError } from '../../core/errors.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { type Message, MessageType, newMessage } from '../../core/raft/messages.ts';
import { defaults } from '../../core/wire/binary.ts';
import { WatchResponse } from '../../core/wire/messages.ts';
import { type Entry, EntryType, type InternalRequest } from '../../core/wire/stored.ts';
import { Model } from '../apply/model.ts';
import { resultText } from './digest.ts';
import type { KeyAction, Operation } from './history.ts';
import { Leases } from './lease-check.ts';
import { isLinearizable, type Step } from './linearizability.ts';
import { RaftCheck } from './raft-check.ts';
import { Replay } from './replay.ts';
import { casOf, deleteOf, putOf } from './requests.ts';
import { Simulation } from './simulation.ts';
import { type AppliedEntry, StateCheck } from './state-check.ts';
import { WatchLog } from './watch-check.ts';

const { APPEND_RESPONSE, HEARTBEAT, VOTE_RESPONSE } = MessageType.values;
const FRESH = { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] };

function entry(index: number, term: number, text = `${index}`): Entry {
  return { index, term, type: EntryType.values.NORMAL, data: new Uint8Array(Buffer.from(text)) };
}

function message(type: MessageType, from: bigint, to: bigint, term: number, index = 0): Message {
  return { ...newMessage(type, to, term), from, index };
}

describe('raft', () => {
  const three = () => {
    const raft = new RaftCheck();
    for (const id of [1n, 2n, 3n]) raft.started(id, FRESH);
    return raft;
  };
  const status = (id: bigint, term: number, isLeader: boolean, commitIndex = 0) => {
    return { id, leader: 0n, isLeader, isLearner: false, term, commitIndex, appliedIndex: 0 };
  };

  it('two leaders of one term', () => {
    const raft = three();
    raft.sent(message(HEARTBEAT, 1n, 2n, 4));
    raft.sent(message(HEARTBEAT, 3n, 2n, 5));
    expect(() => raft.sent(message(HEARTBEAT, 2n, 3n, 4))).toThrow(/1 and 2 both lead in term 4/);
    expect(() => raft.status(status(2n, 5, true))).toThrow(/3 and 2 both lead in term 5/);
  });

  it('logs that do not match', () => {
    const raft = three();
    raft.appended(1n, [entry(1, 1), entry(2, 2)], undefined);
    raft.appended(2n, [entry(1, 1), entry(2, 2)], undefined);
    expect(() => raft.appended(3n, [entry(1, 1, 'other')], undefined)).toThrow(/two different entries 1 of term 1/);
    raft.appended(3n, [entry(1, 2)], undefined);
    expect(() => raft.appended(3n, [entry(2, 2)], undefined)).toThrow(/follows an entry of term 1 here and of 2 there/);
  });

  it('a leader without what was committed', () => {
    const raft = three();
    raft.appended(1n, [entry(1, 1)], undefined);
    raft.applied(1n, 1, 1, 1);
    expect(() => raft.status(status(2n, 2, true))).toThrow(/leader 2 of term 2 lacks entry 1 of term 1/);
    const late = three();
    late.status(status(2n, 2, true));
    expect(() => late.applied(1n, 1, 1, 1)).toThrow(/leader 2 of term 2 lacks entry 1/);
  });

  it('a commit index that goes back, but not over a restart', () => {
    const raft = three();
    raft.status(status(1n, 1, false, 5));
    raft.status(status(1n, 1, false, 5));
    expect(() => raft.status(status(1n, 1, false, 4))).toThrow(/commit went from 5 to 4/);
    raft.started(1n, FRESH);
    raft.status(status(1n, 1, false, 4));
  });

  it('two members that apply different entries', () => {
    const raft = three();
    raft.applied(1n, 1, 1, 1);
    expect(() => raft.applied(2n, 1, 2, 2)).toThrow(/entry 1: 2 applied term 2, another 1/);
  });

  it('a second vote in a term, a vote and a confirmation that are not durable', () => {
    const raft = three();
    const vote = { term: 3, vote: 1n, commit: 0 };
    raft.appended(2n, [entry(1, 1)], vote);
    expect(() => raft.sent(message(APPEND_RESPONSE, 2n, 1n, 3, 1))).toThrow(/confirmed entry 1, durable: 0/);
    expect(() => raft.sent(message(VOTE_RESPONSE, 2n, 1n, 3))).toThrow(/before that was durable/);
    raft.persisted(2n);
    raft.sent(message(APPEND_RESPONSE, 2n, 1n, 3, 1));
    raft.sent(message(VOTE_RESPONSE, 2n, 1n, 3));
    expect(() => raft.sent(message(VOTE_RESPONSE, 2n, 3n, 3))).toThrow(/voted in term 3 for 1 and 3/);
    raft.appended(2n, [entry(1, 2)], undefined);
    expect(() => raft.sent(message(APPEND_RESPONSE, 2n, 1n, 3, 1))).toThrow(/confirmed entry 1, durable: 0/);
  });

  it('a restart that has lost an entry, a term or a vote which was durable', () => {
    const hardState = { term: 2, vote: 1n, commit: 0 };
    const written = () => {
      const raft = three();
      raft.appended(2n, [entry(1, 1), entry(2, 2)], hardState);
      raft.persisted(2n);
      raft.appended(2n, [entry(3, 2)], undefined);
      return raft;
    };
    const all = { ...FRESH, hardState, entries: [entry(1, 1), entry(2, 2)] };
    written().started(2n, all);
    written().started(2n, { ...all, entries: [...all.entries, entry(3, 2)] });
    expect(() => written().started(2n, { ...all, entries: [entry(1, 1)] })).toThrow(/2 lost entry 2/);
    expect(() => written().started(2n, { ...all, hardState: { ...hardState, vote: 0n } })).toThrow(/forgot term 2/);
    expect(() => written().started(2n, { ...all, hardState: { ...hardState, term: 1 } })).toThrow(/forgot term 2/);
    const forgiving = new RaftCheck(false);
    forgiving.started(2n, FRESH);
    forgiving.appended(2n, [entry(1, 1)], undefined);
    forgiving.persisted(2n);
    forgiving.started(2n, FRESH);
  });

  it('a snapshot of what nobody has applied, and a log that has more than its reset left', () => {
    const raft = three();
    raft.appended(1n, [entry(1, 1), entry(2, 1)], undefined);
    raft.applied(1n, 1, 1, 1);
    raft.applied(1n, 2, 1, 1);
    const hardState = { term: 1, vote: 0n, commit: 2 };
    expect(() => raft.reset(2n, 2, 2, hardState)).toThrow(/snapshot at 2\/2, applied: 1/);
    expect(() => raft.reset(2n, 3, 1, hardState)).toThrow(/snapshot at 3\/1, applied: undefined/);
    raft.reset(2n, 2, 1, hardState);
    expect(() => raft.appended(2n, [entry(2, 1)], undefined)).toThrow(/what it has forgotten/);
    raft.persisted(2n);
    raft.sent(message(APPEND_RESPONSE, 2n, 1n, 1, 2));
    raft.started(2n, { hardState, prevIndex: 2, prevTerm: 1, entries: [] });
  });
});

function machine(): StateMachine {
  return createStateMachine({ backend: new MemoryBackend(() => {}), clock: { nowMs: () => 0 } });
}

let requests = 0n;
function request(parts: Partial<InternalRequest>): InternalRequest {
  return { id: ++requests, ...parts } as InternalRequest;
}

describe('state', () => {
  const put = request({ put: putOf('a', '1') });

  function applied(check: StateCheck, id: bigint, to: StateMachine, parts: InternalRequest, text?: object): void {
    const index = to.appliedIndex + 1;
    const result = to.apply(index, 1, parts);
    check.applied(id, index, 1, { request: parts }, text ?? result, to, 0);
  }

  it('a snapshot that is not the state at its place', () => {
    const check = new StateCheck();
    const [one, two] = [machine(), machine()];
    applied(check, 1n, one, put);
    two.apply(1, 1, { ...put, put: putOf('b', '1') });
    const point = { index: 1, term: 1, conf: two.confState };
    expect(() => check.installed(2n, { ...point, term: 2 }, two)).toThrow(/installed entry 1 of 2, applied: 1/);
    expect(() => check.installed(2n, { ...point, index: 2 }, two)).toThrow(/applied: undefined/);
    const conf = { ...two.confState, voters: [1n] };
    expect(() => check.installed(2n, { ...point, conf }, two)).toThrow(/was told 1/);
    check.installed(2n, point, two);
    const { entries, byRequest, installs } = check;
    expect(() => new Replay(entries, byRequest, installs)).toThrow(/the snapshot at 1 that 2 installed has b 2 1/);
    two.apply(2, 1, request({ put: putOf('c', '1') }));
    applied(check, 1n, one, request({ put: putOf('a', '2') }));
    expect(() => check.installed(2n, { ...point, index: 2 }, two)).toThrow(/after entry 2 2 is at/);
  });

  it('another answer, another state, another request, the same request twice', () => {
    const check = new StateCheck();
    applied(check, 1n, machine(), put);
    applied(check, 2n, machine(), put);
    expect(() => applied(check, 3n, machine(), put, rosterError('KeyNotFound'))).toThrow(/3 answered entry 1 with/);
    const other = machine();
    other.lessor.grant(5n, 5n);
    expect(() => applied(check, 3n, other, put)).toThrow(/after entry 1 3 is at/);
    expect(() => applied(check, 3n, machine(), request({}))).toThrow();
    const twice = machine();
    applied(check, 3n, twice, put);
    expect(() => applied(check, 3n, twice, put)).toThrow(/in the log twice/);
  });

  it('a value that differs is found at the next full comparison, and at rest', () => {
    const check = new StateCheck();
    const [one, two] = [machine(), machine()];
    applied(check, 1n, one, put);
    two.apply(1, 1, { ...put, put: putOf('a', '2') });
    expect(() =>
      check.equal(
        new Map([
          [1n, one],
          [2n, two],
        ]),
      ),
    ).toThrow(/the rows of 2 differ/);
    const more = Array.from({ length: 15 }, () => request({ put: putOf('b', 'x') }));
    for (const each of more) applied(check, 1n, one, each);
    expect(() => {
      for (const each of more) applied(check, 2n, two, each);
    }).toThrow(/after entry 16 2 is at/);
  });
});

let moments = 0;
function operation(parts: Partial<Operation>): Operation {
  const base = { id: 1, client: 1, what: 'it', calledMs: 0, request: undefined, local: false, requestIds: [] };
  const calledAt = ++moments;
  return { ...base, calledAt, returnedAt: ++moments, result: '', revision: 0, seen: undefined, ...parts };
}

/** The log of these requests, answered as the model answers. */
function logOf(requestsInOrder: readonly InternalRequest[]): [AppliedEntry[], Map<bigint, AppliedEntry>] {
  const to = machine();
  const entries: AppliedEntry[] = [];
  const byRequest = new Map<bigint, AppliedEntry>();
  for (const [place, each] of requestsInOrder.entries()) {
    const index = place + 1;
    const result = resultText(to.apply(index, 1, each));
    entries[index] = { index, term: 1, request: each, change: undefined, result, atMs: 0 };
    byRequest.set(each.id, entries[index]);
  }
  return [entries, byRequest];
}

function acknowledged(made: AppliedEntry, parts: Partial<Operation> = {}): Operation {
  const revision = (JSON.parse(made.result) as { header: { revision: number } }).header.revision;
  return operation({ request: made.request, requestIds: [made.request!.id], result: made.result, revision, ...parts });
}

describe('replay', () => {
  const first = request({ put: putOf('k0', 'x') });
  const second = request({ txn: casOf(['k0', 'k1'], 'x', 'y') });
  const [entries, byRequest] = logOf([first, second, request({ delete_range: deleteOf('k1') })]);
  const replay = () => new Replay(entries, byRequest);

  it('an answer that the model would not give', () => {
    const changed = entries.with(2, { ...entries[2]!, result: entries[2]!.result.replace('true', 'false') });
    expect(() => new Replay(changed, byRequest)).toThrow(/entry 2 was answered with/);
    replay();
  });

  it('an acknowledged write that is lost, was told something else, or took effect twice', () => {
    replay().check([acknowledged(entries[1]!), acknowledged(entries[2]!)]);
    expect(() => replay().check([acknowledged(entries[1]!, { requestIds: [999n] })])).toThrow(/is lost/);
    replay().check([acknowledged(entries[1]!, { requestIds: [999n], returnedAt: Number.POSITIVE_INFINITY })]);
    expect(() => replay().check([acknowledged(entries[1]!, { result: '{}' })])).toThrow(/was told {}/);
    const twice = acknowledged(entries[1]!, { requestIds: [first.id, second.id] });
    expect(() => replay().check([twice])).toThrow(/took effect twice/);
  });

  it('a read of what never was, or of what was over', () => {
    const read = (value: string, revision: number) => operation({ revision, seen: new Map([['k0', value]]) });
    replay().check([acknowledged(entries[1]!), read('x', 2), acknowledged(entries[2]!), read('y', 3)]);
    expect(() => replay().check([read('z', 2)])).toThrow(/saw k0=z at 2, not x/);
    expect(() => replay().check([read('z', 9)])).toThrow(/revision 9, which never was/);
    const stale = [acknowledged(entries[1]!), acknowledged(entries[2]!), read('x', 2)];
    expect(() => replay().check(stale)).toThrow(/saw 2, 3 was known/);
    const local = { ...stale[2]!, local: true };
    replay().check([...stale.slice(0, 2), local]);
  });

  it('a write that comes before another which was done when it was asked for', () => {
    const late = [acknowledged(entries[2]!), acknowledged(entries[1]!)];
    expect(() => replay().check(late)).toThrow(/came before/);
    const readFirst = [operation({ revision: 3, seen: new Map() }), acknowledged(entries[1]!)];
    expect(() => replay().check(readFirst)).toThrow(/came before/);
  });
});

describe('linearizability', () => {
  const put = (value: string): KeyAction => ({ kind: 'put', value });
  const read = (value?: string): KeyAction => ({ kind: 'read', value });
  const steps = (...all: [number, number, KeyAction][]): Step[] =>
    all.map(([calledAt, returnedAt, action]) => ({ calledAt, returnedAt, action }));

  it('finds the stale read, the lost write and the value from nowhere', () => {
    expect(isLinearizable(steps([1, 2, put('a')], [3, 4, read('a')]))).toBe(true);
    expect(isLinearizable(steps([1, 2, put('a')], [3, 4, put('b')], [5, 6, read('a')]))).toBe(false);
    expect(isLinearizable(steps([1, 2, put('a')], [3, 4, read()]))).toBe(false);
    expect(isLinearizable(steps([1, 2, read('z')]))).toBe(false);
    expect(isLinearizable(steps([1, 6, put('a')], [2, 3, read('a')], [4, 5, read()]))).toBe(false);
  });

  it('lets an open write take effect late, and once', () => {
    const open: [number, number, KeyAction] = [1, Number.POSITIVE_INFINITY, put('a')];
    expect(isLinearizable(steps(open, [2, 3, read()], [4, 5, read('a')]))).toBe(true);
    expect(isLinearizable(steps(open, [2, 3, read('a')], [4, 5, put('b')], [6, 7, read('a')]))).toBe(false);
  });

  it('agrees with trying every order', () => {
    const action = fc.oneof(
      fc.constantFrom('a', 'b').map(put),
      fc.constantFrom('a', 'b', undefined).map(read),
      fc.boolean().map((found): KeyAction => ({ kind: 'delete', found })),
      fc
        .record({ expected: fc.constantFrom('a', undefined), swapped: fc.boolean() })
        .map((cas): KeyAction => ({ kind: 'cas', value: 'b', ...cas })),
    );
    const step = fc
      .record({ action, calledAt: fc.integer({ min: 0, max: 20 }), lasts: fc.integer({ min: 0, max: 8 }) })
      .map((s): Step => ({ action: s.action, calledAt: s.calledAt, returnedAt: s.calledAt + s.lasts + 0.5 }));
    const seen = { yes: 0, no: 0 };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 5 }), (history) => {
        const expected = anyOrder(history, undefined);
        seen[expected ? 'yes' : 'no']++;
        expect(isLinearizable(history)).toBe(expected);
      }),
      { numRuns: 2000, seed: 7 },
    );
    expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(200);
  });
});

/** Whether some order of the steps explains them: by trying all. */
function anyOrder(steps: readonly Step[], value: string | undefined): boolean {
  if (steps.length === 0) return true;
  return steps.some((step) => {
    if (steps.some((other) => other.returnedAt < step.calledAt)) return false;
    const next = after(step.action, value);
    return (
      next !== 'impossible' &&
      anyOrder(
        steps.filter((other) => other !== step),
        next.value,
      )
    );
  });
}

function after(action: KeyAction, value: string | undefined): { value: string | undefined } | 'impossible' {
  if (action.kind === 'put') return { value: action.value };
  if (action.kind === 'read') return action.value === value ? { value } : 'impossible';
  if (action.kind === 'delete') return action.found === (value !== undefined) ? { value: undefined } : 'impossible';
  if (action.swapped !== (value === action.expected)) return 'impossible';
  return { value: action.swapped ? action.value : value };
}

describe('watch', () => {
  const model = new Model();
  model.put(putOf('a', '1'));
  model.txn({
    compare: [],
    success: [{ request_put: putOf('a', '2') }, { request_put: putOf('b', '2') }],
    failure: [],
  });
  model.deleteRange(deleteOf('a'));
  const put = (key: string, revision: number, value: string) => ({
    type: 0,
    kv: { ...model.states.get(revision)!.get(key)!, value: new Uint8Array(Buffer.from(value)) },
    prev_kv: undefined,
  });
  const gone = { type: 1, kv: { ...put('a', 2, '').kv, mod_revision: 4 }, prev_kv: undefined };
  const response = (revision: number, ...events: WatchResponse['events']): WatchResponse => {
    return { ...defaults(WatchResponse), header: { cluster_id: 0n, member_id: 0n, revision, raft_term: 0 }, events };
  };
  const log = (...responses: WatchResponse[]) => {
    const made = new WatchLog('w', '\0', '\0', 1);
    for (const each of responses) made.took(each);
    return made;
  };
  const one = response(2, put('a', 2, '1'));
  const two = response(3, put('a', 3, '2'), put('b', 3, '2'));
  const three = response(4, gone);

  it('takes what happened, however it is cut', () => {
    log(one, two, three).check(model);
    log(response(4, ...one.events, ...two.events, gone)).check(model);
    log(one, response(2), two, response(3), three, response(4)).check(model);
  });

  it('an event that is missing, doubled, out of order, or another than what happened', () => {
    expect(() => log(one, two).check(model)).toThrow(/missed 4 -a/);
    expect(() => log(one, three).check(model)).toThrow(/expected 3 a=2/);
    expect(() => log(one, one)).toThrow(/got revision 2 after 2/);
    expect(() => log(two, one)).toThrow(/got revision 2 after 3/);
    expect(() => log(response(4, gone, ...one.events))).toThrow(/got revision 2 after 4/);
    expect(() => log(response(2, put('a', 2, 'other')), two, three).check(model)).toThrow(/got 2 a=other/);
  });

  it('a revision in two pieces, and progress ahead of events', () => {
    expect(() => log(one, response(3, two.events[0]!), response(3, two.events[1]!))).toThrow(/revision 3 after 3/);
    expect(() => log(one, response(3), two)).toThrow(/got revision 3 after 3, told up to 3/);
  });

  it('a compaction excuses what lies before it only', () => {
    const made = new WatchLog('w', '\0', '\0', 1);
    made.compacted(4);
    made.took(three);
    made.check(model);
    const wrong = new WatchLog('w', '\0', '\0', 3);
    expect(() => wrong.compacted(2)).toThrow(/refused 3, compacted is only 2/);
  });
});

describe('leases', () => {
  const grant = request({ lease_grant: { ID: 9n, TTL: 2n } });
  const revoke = request({ lease_revoke: { ID: 9n } });
  const entries = (endMs: number): AppliedEntry[] => {
    const at = (index: number, each: InternalRequest, atMs: number) => ({
      index,
      term: 1,
      request: each,
      change: undefined,
      result: '{}',
      atMs,
    });
    const made: AppliedEntry[] = [];
    made[1] = at(1, grant, 1000);
    made[2] = at(2, revoke, endMs);
    return made;
  };

  it('an end before its time, unless a client asked for it', () => {
    expect(new Leases(0).check(entries(3000))).toBe(1);
    expect(() => new Leases(0).check(entries(2999))).toThrow(/ended at 2999 ms, promised until 3000 ms/);
    const asked = new Leases(0);
    asked.revoking(9n);
    expect(asked.check(entries(1500))).toBe(0);
  });

  it('a renewal counts from when it was asked for, and not after the end', () => {
    const renewed = new Leases(0);
    renewed.promised(9n, 2500, 2, true);
    expect(() => renewed.check(entries(4499))).toThrow(/promised until 4500 ms/);
    renewed.check(entries(4500));
    expect(() => renewed.check(entries(2400))).toThrow(/promised more at 2500, it had ended/);
  });

  it('clocks may be fast by the drift of the run', () => {
    new Leases(0.05).check(entries(1000 + 2000 / 1.05 + 0.001));
    expect(() => new Leases(0.05).check(entries(1000 + 2000 / 1.05 - 1))).toThrow(/promised until/);
  });
});

describe('liveness', () => {
  it('a cluster that nobody hears makes no progress', () => {
    const run = () => new Simulation(1, { bug: { message: () => [] }, settings: { faultMs: 1000 } }).run();
    expect(run).toThrow(/liveness: no write was acknowledged within \d/);
  });
});
