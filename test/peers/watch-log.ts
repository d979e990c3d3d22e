/**
 * What is expected of watches, and what came: which event a watch must have got by now, and the course of each watch as
 * the two servers must agree on it. Where a run of events is cut into responses depends on timing; that every cut is a
 * legal one is checked here.
 */
import type * as m from '../../core/wire/messages.ts';
import type { WatchRecorder } from './side.ts';

/** An event that has happened, as a watch of everything has told it. */
export interface Happened {
  revision: number;
  type: number;
  key: string;
}

/** One watch, from its creation on. */
export interface Watch {
  id: bigint;
  key: string;
  rangeEnd: string;
  /** First revision it is about. */
  start: number;
  /** Its client named a revision that had not come. */
  future: boolean;
  /** The compact revision when it was created. */
  compacted: number;
  /** It asked for history that is gone: its one answer after the first is its end. */
  overtaken: boolean;
  noPut: boolean;
  noDelete: boolean;
}

const NO_WATCH = -1n;

/** A watch as it will be if its creation succeeds; `revision` is the store's. */
export function watchOf(request: Partial<m.WatchCreateRequest>, revision: number, compacted: number): Watch {
  const { start_revision: start = 0, filters = [] } = request;
  return {
    id: NO_WATCH,
    key: request.key || '\0',
    rangeEnd: request.range_end ?? '',
    start: start === 0 ? revision + 1 : start,
    future: start > revision,
    compacted,
    overtaken: start > 0 && start <= revision && start < compacted,
    noPut: filters.includes(0),
    noDelete: filters.includes(1),
  };
}

/** Revision of the last event that `watch` must have got; 0: none. */
export function lastDue(watch: Watch, history: readonly Happened[], tombstonesKept: boolean): number {
  if (watch.overtaken) return 0;
  for (let i = history.length - 1; i >= 0 && history[i]!.revision >= watch.start; i--) {
    const { revision, type, key } = history[i]!;
    const inRange = watch.rangeEnd === '' ? key === watch.key : key >= watch.key;
    if (!inRange || (watch.rangeEnd !== '' && watch.rangeEnd !== '\0' && key >= watch.rangeEnd)) continue;
    if (type === 0 ? watch.noPut : watch.noDelete) continue;
    if (!tombstonesKept && revision <= watch.compacted && isDeletedAt(history, revision, key)) continue;
    return revision;
  }
  return 0;
}

function isDeletedAt(history: readonly Happened[], revision: number, key: string): boolean {
  return history.findLast((event) => event.revision === revision && event.key === key)?.type === 1;
}

/** The life of one watch id, or of the refusals under -1. */
export interface Course {
  id: bigint;
  /** The answers that are no events, in order. */
  answers: m.WatchResponse[];
  events: m.Event[];
}

/** Above this an unfragmented response of several revisions has no business to be. */
const FRAGMENT_BYTES_MAX = 2 * 1024 * 1024;

/** Courses in order of creation. Throws when responses are cut or ordered as they must never be. */
export function coursesOf(recorder: WatchRecorder): Course[] {
  const courses: Course[] = [];
  const current = new Map<bigint, Course>();
  const partial = new Set<bigint>();
  for (const response of recorder.responses) {
    const { watch_id: id, created, canceled, events, fragment } = response;
    if (!created && !canceled && events.length === 0) continue;
    if (created) {
      const course: Course = { id, answers: [response], events: [] };
      courses.push(course);
      if (!canceled) current.set(id, course);
      continue;
    }
    const course = current.get(id);
    if (course === undefined) throw new Error(`${recorder.side} sent a response for watch ${id}, which is none`);
    if (canceled) {
      course.answers.push(response);
      if (events.length > 0) throw new Error(`${recorder.side} sent events with the end of watch ${id}`);
      continue;
    }
    checkOrder(recorder.side, course, response, partial.has(id));
    course.events.push(...events);
    if (fragment) partial.add(id);
    else partial.delete(id);
  }
  if (partial.size > 0) throw new Error(`${recorder.side} has not finished a fragmented response`);
  return courses;
}

function checkOrder(side: string, course: Course, response: m.WatchResponse, within: boolean): void {
  const first = response.events[0]!.kv!.mod_revision;
  const before = course.events.at(-1)?.kv?.mod_revision ?? 0;
  if (first < before || (first === before && !within)) {
    throw new Error(`${side} sent events of revision ${first} after ${before} to watch ${course.id}`);
  }
  if (response.header!.revision < response.events.at(-1)!.kv!.mod_revision) {
    throw new Error(`${side} sent events above the revision of their header to watch ${course.id}`);
  }
  const bytes = response.events.reduce((sum, { kv, prev_kv }) => sum + sizeOf(kv) + sizeOf(prev_kv), 0);
  if (response.fragment && response.events.length > 1 && bytes > FRAGMENT_BYTES_MAX) {
    throw new Error(`${side} sent a fragment of ${bytes} bytes to watch ${course.id}`);
  }
}

function sizeOf(kv: m.KeyValue | undefined): number {
  return kv === undefined ? 0 : kv.key.length + kv.value.length;
}
