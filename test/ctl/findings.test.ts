import { describe, expect, it } from 'vitest';
import { GrpcStatus, otherError, rosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import { AlarmType, Member, StatusResponse } from '../../core/wire/messages.ts';
import { remedy } from '../../ctl/hints.ts';
import { type Examined, findings } from '../../ctl/more/findings.ts';

/** What doctor makes of answers that no test can bring a real cluster to give. */

const status = (more: Partial<StatusResponse> = {}, id = 1n): StatusResponse => ({
  ...defaults(StatusResponse),
  header: { cluster_id: 7n, member_id: id, revision: 1, raft_term: 2 },
  version: '3.7.1',
  leader: 1n,
  dbSize: 1_000,
  dbSizeInUse: 900,
  dbSizeQuota: 1_000_000,
  raftIndex: 100,
  raftAppliedIndex: 100,
  ...more,
});
const examined = (more: Partial<Examined> = {}): Examined => ({
  endpoint: 'a:1',
  alarms: [],
  status: status(),
  readMs: 1,
  ...more,
});
const member = (more: Partial<Member> = {}): Member => ({
  ...defaults(Member),
  ID: 1n,
  name: 'm1',
  clientURLs: ['http://a:1'],
  ...more,
});
const find = (list: Examined[], members: Member[] = [member()]) =>
  findings({ members, examined: list, given: ['a:1'] });

describe('doctor', () => {
  it('has nothing to say of what is well', () => {
    expect(find([examined()])).toEqual([]);
    expect(find([examined({ clockSkewMs: 900, readMs: 100 })])).toEqual([]);
  });

  const cases: [string, Examined[], string, RegExp][] = [
    [
      'silence',
      [{ endpoint: 'a:1', alarms: [], problem: otherError(GrpcStatus.UNAVAILABLE, 'a:1: connect ECONNREFUSED') }],
      'wrong',
      /^a:1 does not answer: connect ECONNREFUSED Nothing listens there/,
    ],
    [
      'TLS trouble',
      [{ endpoint: 'a:1', alarms: [], problem: otherError(GrpcStatus.UNAVAILABLE, 'a:1: self-signed certificate') }],
      'wrong',
      /self-signed certificate Check --cacert, --cert and --key/,
    ],
    ['no leader', [examined({ status: status({ leader: 0n }) })], 'wrong', /^a:1 knows no leader.*majority/],
    [
      'two leaders',
      [examined(), examined({ endpoint: 'b:1', status: status({ leader: 2n }, 2n) })],
      'warning',
      /^members disagree on who leads: m1 \(1\) and 2 An election/,
    ],
    [
      'two clusters',
      [
        examined(),
        examined({
          endpoint: 'b:1',
          status: { ...status(), header: { cluster_id: 8n, member_id: 2n, revision: 1, raft_term: 1 } },
        }),
      ],
      'wrong',
      /2 different clusters/,
    ],
    [
      'no space',
      [examined({ alarms: [{ memberID: 1n, alarm: AlarmType.values.NOSPACE }] })],
      'wrong',
      /^member m1 \(1\) is out of space.*Compact/,
    ],
    [
      'corruption',
      [examined({ alarms: [{ memberID: 1n, alarm: AlarmType.values.CORRUPT }] })],
      'wrong',
      /holds other data than the rest/,
    ],
    ['a slow read', [examined({ readMs: 101 })], 'warning', /^a read through a:1 takes 101 ms/],
    [
      'a read that fails',
      [examined({ readProblem: rosterError('Timeout') })],
      'wrong',
      /^a:1 cannot read: etcdserver: request timed out The cluster did not agree/,
    ],
    [
      'a quota nearly used up',
      [examined({ status: status({ dbSizeInUse: 800_001 }) })],
      'warning',
      /^a:1 uses 80 % of its quota of 1\.0 MB/,
    ],
    [
      'free space',
      [examined({ status: status({ dbSize: 400_000_000, dbSizeQuota: 0 }) })],
      'warning',
      /^of the 400 MB of the database at a:1 only 900 B are in use.*defrag/,
    ],
    [
      'versions',
      [examined(), examined({ endpoint: 'b:1', status: status({ version: '3.6.0' }, 2n) })],
      'warning',
      /3\.7\.1 \(a:1\), 3\.6\.0 \(b:1\)/,
    ],
    [
      'a downgrade',
      [examined({ status: status({ downgradeInfo: { enabled: true, targetVersion: '3.6' } }) })],
      'warning',
      /^a downgrade to 3\.6 is under way/,
    ],
    [
      'a learner behind',
      [
        examined({ status: status({ raftIndex: 5_000, raftAppliedIndex: 5_000 }) }),
        examined({ endpoint: 'b:1', status: status({ isLearner: true }, 2n) }),
      ],
      'warning',
      /^b:1 is a learner, 4900 entries behind/,
    ],
    [
      'a learner that is ready',
      [examined({ status: status({ isLearner: true }, 0xabn) })],
      'warning',
      /rosterctl member promote ab lets it vote/,
    ],
    ['a clock', [examined({ clockSkewMs: -61_000 })], 'warning', /^the clock of a:1 is 61 s behind the one here/],
    [
      'a backlog',
      [examined({ status: status({ raftIndex: 2_101 }) })],
      'warning',
      /^a:1 has 2001 entries yet to apply/,
    ],
    [
      'an error of its own',
      [examined({ status: status({ errors: ['disk on fire'] }) })],
      'warning',
      /^a:1 reports: disk on fire/,
    ],
  ];
  it.each(cases)('tells of %s', (_what, list, severity, pattern) => {
    const found = find(list);
    expect(found.map((one) => [one.severity, `${one.text} ${one.remedy}`])).toEqual([
      [severity, expect.stringMatching(pattern)],
    ]);
  });

  it('tells of members that were never started, and of an even number', () => {
    const [unstarted, even] = find([examined()], [member(), member({ ID: 2n, name: '' })]);
    expect(unstarted!.text).toBe('member 2 was added and has never been started');
    expect(even!.text).toMatch(/^there are 2 voting members/);
  });
});

it.each([
  [rosterError('NoSpace'), /compact/],
  [rosterError('NotLeader'), /endpoint of the leader/],
  [otherError(GrpcStatus.UNAVAILABLE, 'x: getaddrinfo ENOTFOUND x'), /host name/],
  [otherError(GrpcStatus.UNIMPLEMENTED, 'unknown method'), /older than this command/],
  [otherError(GrpcStatus.DEADLINE_EXCEEDED, 'x: Deadline exceeded'), /--command-timeout/],
  [otherError(GrpcStatus.UNAVAILABLE, 'x: no answer'), /--endpoints/],
])('%s has a remedy', (error, pattern) => expect(remedy(error)).toMatch(pattern));

it('an error that says it all has none', () => {
  expect(remedy(rosterError('LeaseNotFound'))).toBeUndefined();
});
