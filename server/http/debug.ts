/** /debug/vars in the shape of Go's expvar, as far as Node.js knows the like; and what stands in the place of /debug/pprof. */
import { readFileSync } from 'node:fs';
import type { Hono } from 'hono';
import type { RpcContext } from '../rpc/context.ts';

const NO_PROFILES = `Go's profiles do not exist here. Profile the process with Node.js instead: kill -USR1 PID opens the inspector
on 127.0.0.1:9229 (chrome://inspect); node --cpu-prof and node --heap-prof write profiles at exit.
`;

/** Adds the debugging endpoints to `app`; `pprof` only changes in which words profiles are refused. */
export function mountDebug(app: Hono, context: RpcContext, pprof: boolean): void {
  app.get('/debug/vars', (c) => c.json(variables(context)));
  if (pprof) app.all('/debug/pprof/*', (c) => c.text(NO_PROFILES, 404));
}

function variables({ node, identity }: RpcContext): object {
  const memory = process.memoryUsage();
  const status = node.status();
  const role = status.isLearner ? 'StateLearner' : 'StateFollower';
  return {
    cmdline: process.argv,
    file_descriptor_limit: descriptorLimit(),
    memstats: {
      Alloc: memory.heapUsed,
      Sys: memory.rss,
      HeapAlloc: memory.heapUsed,
      HeapInuse: memory.heapUsed,
      HeapSys: memory.heapTotal,
      HeapIdle: memory.heapTotal - memory.heapUsed,
      OtherSys: memory.external,
    },
    'raft.status': {
      id: identity.memberId.toString(16),
      term: status.term,
      commit: status.commitIndex,
      applied: status.appliedIndex,
      lead: status.leader.toString(16),
      raftState: status.isLeader ? 'StateLeader' : role,
    },
  };
}

/** Linux tells; elsewhere 0. */
export function descriptorLimit(): number {
  try {
    const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined || !/^\d+$/.test(soft) ? 0 : Number(soft);
  } catch {
    return 0;
  }
}
