import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningCluster, startCluster, startRoster } from '../support/roster.ts';
import { type Outcome, type RunOptions, rosterctl } from './run-ctl.ts';

/** A way to a server that can be cut, and mended at the same place. */
class Road {
  readonly #target: { host: string; port: number };
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;
  /** That went along it to the server. */
  bytes = 0;

  private constructor(endpoint: string) {
    const [host, port] = endpoint.split(':') as [string, string];
    this.#target = { host, port: Number(port) };
  }

  static async to(endpoint: string): Promise<Road> {
    const road = new Road(endpoint);
    await road.mend();
    return road;
  }

  get endpoint(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async mend(): Promise<void> {
    const server = createServer((near) => {
      const far = connect(this.#target);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => other.destroy()).on('close', () => other.destroy());
        one.pipe(other);
      }
      near.on('data', (chunk: Buffer) => {
        this.bytes += chunk.length;
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  cut(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}

/** Verbs that are about several members, and what happens when one is away. */

const ctlAt =
  (endpoints: () => string) =>
  (line: string, options: RunOptions = {}): Promise<Outcome> =>
    rosterctl(line.split(' '), { ...options, env: { ETCDCTL_ENDPOINTS: endpoints(), ...options.env } });

describe('three members', () => {
  let cluster: RunningCluster;
  const ctl = ctlAt(() => cluster.endpoints.join(','));
  beforeAll(async () => {
    cluster = await startCluster(3);
  });
  afterAll(() => cluster?.stop());

  it('move-leader', async () => {
    const statuses = JSON.parse((await ctl('endpoint status -w json')).stdout.replace(/:(\d{16,})/g, ':"$1"'));
    const leader = statuses[0].Status.leader as string;
    const follower = statuses
      .map((one: { Status: { header: { member_id: string } } }) => one.Status.header.member_id)
      .find((id: string) => id !== leader);
    const hex = (id: string) => BigInt(id).toString(16);
    const one = cluster.members[0]!.endpoint;
    const wrong =
      statuses.find((status: { Endpoint: string }) => status.Endpoint === one).Status.header.member_id !== leader;
    if (wrong) {
      const refused = await ctl(`move-leader ${hex(leader)} --endpoints ${one}`);
      expect([refused.code, refused.stderr]).toEqual([128, `Error: no leader endpoint given at [${one}]\n`]);
    }
    const moved = await ctl(`move-leader ${hex(follower)}`);
    expect(moved).toEqual({
      code: 0,
      stdout: `Leadership transferred from ${hex(leader)} to ${hex(follower)}\n`,
      stderr: '',
    });
  });

  it('endpoint status, health and hashkv --cluster, in the order of the list', async () => {
    const only = `--endpoints ${cluster.members[0]!.endpoint} --cluster`;
    expect((await ctl(`endpoint status ${only}`)).stdout.trim().split('\n')).toHaveLength(3);
    const health = await ctl(`endpoint health ${only} -w table`);
    expect(health.stdout.match(/\|\s+true \|/g)).toHaveLength(3);
    const hashes = new Set(
      (await ctl(`endpoint hashkv ${only}`)).stdout
        .trim()
        .split('\n')
        .map((line) => line.split(', ')[1]),
    );
    expect(hashes.size).toBe(1);
    expect(
      (await ctl(`defrag ${only}`)).stdout.match(/^Finished defragmenting etcd member\[http:.*\]\. took /gm),
    ).toHaveLength(3);
  });

  it('member add, update, promote and remove', async () => {
    const added = await ctl('member add four --learner --peer-urls http://127.0.0.1:1');
    const id =
      /^Member\s+([0-9a-f]+) added as learner to cluster\s+[0-9a-f]+\n\nETCD_NAME="four"\nETCD_INITIAL_CLUSTER=".*four=http:\/\/127\.0\.0\.1:1.*"\nETCD_INITIAL_ADVERTISE_PEER_URLS="http:\/\/127\.0\.0\.1:1"\nETCD_INITIAL_CLUSTER_STATE="existing"\n$/.exec(
        added.stdout,
      )![1]!;
    expect((await ctl(`member update ${id} --peer-urls http://127.0.0.1:2`)).stdout).toMatch(
      /^Member\s+[0-9a-f]+ updated in cluster/,
    );
    const unready = await ctl(`member promote ${id}`);
    expect([unready.code, unready.stderr]).toEqual([1, expect.stringContaining('in sync with leader')]);
    const { stdout } = await ctl('doctor');
    expect(stdout).toContain(`mind: member ${id} was added and has never been started. Start it with`);
    expect((await ctl(`member remove ${id}`)).stdout).toMatch(/^Member\s+[0-9a-f]+ removed from cluster/);
    expect((await ctl('member add x http://127.0.0.1:1')).stderr).toContain(
      'did you mean --peer-urls=http://127.0.0.1:1',
    );
  });

  it('doctor, when a member is away, and when two are', { timeout: 120_000 }, async () => {
    const [a, b, c] = cluster.members;
    await b!.kill();
    const one = await ctl(`doctor --endpoints ${a!.endpoint} --dial-timeout 1s`);
    expect(one.code).toBe(1);
    expect(one.stdout).toMatch(
      new RegExp(
        `^WRONG: http://${b!.endpoint} does not answer: .*ECONNREFUSED.*\\. Nothing listens there: is the server running`,
        'm',
      ),
    );
    await c!.kill();
    const two = await ctl(`doctor --endpoints ${a!.endpoint} --dial-timeout 1s --command-timeout 2s`);
    expect(two.code).toBe(1);
    expect(two.stdout).toMatch(/^WRONG: .* (?:cannot read|knows no leader)/m);
    const found = JSON.parse(
      (await ctl(`doctor --endpoints ${a!.endpoint} --dial-timeout 1s --command-timeout 2s -w json`)).stdout,
    );
    expect(found.filter(({ severity }: { severity: string }) => severity === 'wrong').length).toBeGreaterThanOrEqual(3);
    await b!.start();
    await c!.start();
    await expect.poll(async () => (await ctl('doctor')).code, { timeout: 40_000 }).toBe(0);
  });
});

describe('one member, and its absence', () => {
  it('a watch goes on across a restart, with a token that the server no longer knows', {
    timeout: 120_000,
  }, async () => {
    const store = await startRoster();
    const ctl = ctlAt(() => store.endpoint);
    const root = (line: string, options: RunOptions = {}) => ctl(`--user root:secret ${line}`, options);
    try {
      for (const line of ['user add root:secret', 'user grant-role root root', 'auth enable']) {
        expect((await ctl(line)).code).toBe(0);
      }
      const refused = await ctl('get a');
      expect(refused.stderr).toBe(
        'Error: etcdserver: user name is empty\nhint: auth is on: give --user NAME[:PASSWORD], or ETCDCTL_USER\n',
      );
      const interrupt = new AbortController();
      let text = '';
      const watching = root('watch /r/ --prefix', {
        signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(100_000)]),
        onStdout: (all) => {
          text = all;
          if (all.includes('after')) interrupt.abort();
        },
      });
      await expect
        .poll(
          async () => {
            await root('put /r/a before');
            return text;
          },
          { timeout: 20_000 },
        )
        .toContain('before');
      await store.kill();
      await store.start();
      expect((await root('put /r/a after')).code).toBe(0);
      const outcome = await watching;
      expect(outcome.stdout).toContain('PUT\n/r/a\nafter\n');
      expect([outcome.code, outcome.stderr]).toEqual([5, '']);
      expect((await ctl('--auth-jwt-token nonsense get a')).stderr).toContain('invalid auth token');
      const env = { ETCDCTL_USER: 'root', ETCDCTL_PASSWORD: 'secret' };
      expect((await ctl('get /r/a --print-value-only', { env })).stdout).toBe('after\n');
      expect((await ctl('get /r/a --user root')).stderr).toContain('standard input is no terminal');
    } finally {
      await store.stop();
    }
  });

  it.each([
    ['an event', '', true],
    ['nothing', '', false],
    ['nothing, from a revision on', '--rev 1', false],
  ])('a watch that was cut off after %s tells what compaction has taken meanwhile', async (_what, flags, before) => {
    const store = await startRoster();
    const road = await Road.to(store.endpoint);
    const ctl = ctlAt(() => store.endpoint);
    try {
      const interrupt = new AbortController();
      let seen = '';
      const watching = rosterctl(`watch /c/ --prefix ${flags}`.trim().split(' '), {
        env: { ETCDCTL_ENDPOINTS: road.endpoint },
        signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(40_000)]),
        onStdout: (text) => {
          seen = text;
          if (text.includes('/c/end')) interrupt.abort();
        },
      });
      await expect.poll(() => road.bytes, { timeout: 20_000 }).toBeGreaterThan(0);
      const watchers = async () =>
        /^etcd_debugging_mvcc_watcher_total (\d+)/m.exec(
          await (await fetch(`http://${store.endpoint}/metrics`)).text(),
        )![1];
      await expect.poll(watchers, { timeout: 20_000 }).toBe('1');
      if (before) {
        await ctl('put /c/a 1');
        await expect.poll(() => seen, { timeout: 20_000 }).toContain('/c/a');
      }
      const since = Number(/"revision":(\d+)/.exec((await ctl('get x -w json')).stdout)![1]);
      road.cut();
      for (const line of ['put /c/b 1', 'put /c/b 2', 'put /c/gone 1', 'del /c/gone']) await ctl(line);
      expect((await ctl(`compaction ${since + 4}`)).code).toBe(0);
      await ctl('put /c/end 1');
      await road.mend();
      const outcome = await watching;
      expect(outcome.stdout).toBe(`${before ? 'PUT\n/c/a\n1\n' : ''}PUT\n/c/b\n2\nPUT\n/c/end\n1\n`);
      const from = flags === '' ? since + 1 : 1;
      expect(outcome.stderr).toContain(`missed revisions ${from} to ${since + 4}: compacted before they could be read`);
    } finally {
      road.cut();
      await store.stop();
    }
  });

  it('names the endpoint and the remedy when nobody answers', async () => {
    const gone = await rosterctl('get a --endpoints 127.0.0.1:1 --dial-timeout 100ms'.split(' '));
    expect(gone.code).toBe(1);
    expect(gone.stderr).toMatch(
      /^Error: 127\.0\.0\.1:1: connect ECONNREFUSED .*\nhint: nothing listens there: is the server/,
    );
    const gone2 = await rosterctl('--endpoints http://127.0.0.1:1 ls'.split(' '));
    expect(gone2.code).toBe(2);
    expect(gone2.stderr).toMatch(
      /^Error: {2}no member of the cluster answered: http:\/\/127\.0\.0\.1:1: connect ECONNREFUSED.*\nhint: /,
    );
    const health = await rosterctl('--endpoints http://127.0.0.1:1 cluster-health'.split(' '));
    expect([health.code, health.stdout]).toEqual([4, 'cluster may be unhealthy: failed to list members\n']);
    const doctor = await rosterctl('doctor --endpoints 127.0.0.1:1 --dial-timeout 100ms'.split(' '));
    expect([doctor.code, doctor.stdout]).toEqual([1, expect.stringMatching(/^WRONG: 127\.0\.0\.1:1 does not answer/)]);
    const { stderr } = await rosterctl('check datascale --endpoints 127.0.0.1:1 --dial-timeout 100ms'.split(' '));
    expect(stderr).toContain('ECONNREFUSED');
  });
});
