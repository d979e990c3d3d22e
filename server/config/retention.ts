/** --auto-compaction-mode and --auto-compaction-retention, read as etcd reads them (embed.parseCompactionRetention). */
import type { Retention } from '../auto-compaction.ts';
import { UsageError } from './flag-table.ts';
import { parseDurationMs } from './values.ts';

const HOUR_MS = 3_600_000;

/** Undefined: none. A bare number is hours, or revisions. Throws UsageError. */
export function parseRetention(mode: 'periodic' | 'revision', text: string): Retention | undefined {
  const whole = /^\+?\d+$/.test(text) ? Number(text) : undefined;
  if (mode === 'revision') {
    if (whole === undefined || !Number.isSafeInteger(whole)) {
      throw new UsageError(
        `error parsing CompactionRetention: --auto-compaction-retention ${JSON.stringify(text)} must be a number of revisions with --auto-compaction-mode revision`,
      );
    }
    return whole === 0 ? undefined : { mode, revisions: whole };
  }
  const periodMs = whole === undefined ? durationOf(text) : whole * HOUR_MS;
  return periodMs === 0 ? undefined : { mode, periodMs };
}

function durationOf(text: string): number {
  try {
    const ms = parseDurationMs(text);
    if (ms >= 0) return ms;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
  }
  throw new UsageError(
    `error parsing CompactionRetention: --auto-compaction-retention ${JSON.stringify(text)} must be a number of hours, or a duration such as 30m`,
  );
}
