/** The limits of watching, each with the value a server uses unless told otherwise. */

export interface WatchLimits {
  /** Bytes of a response above which whole revisions go into the next one, and fragments are cut. */
  responseBytesMax: number;
  /** Bytes of responses with the same events that one stream is given at once; one response is, however large it is. */
  copiesBytesMax: number;
  /** Watches of one stream. */
  watchersPerStreamMax: number;
  /** Answers to requests that a stream may owe a peer that does not read. One more ends the stream. */
  unreadAnswersMax: number;
  /** Revisions that one catch-up slice reads at most, and so the most in one catch-up response. etcd's figure. */
  sliceRevisionsMax: number;
  /** Weight (see catch-up.ts) of one slice above which the next one reads less. */
  sliceCostMax: number;
  /** Streams that get their progress notifications in one tick; the rest follow in the next. */
  progressStreamsPerTick: number;
}

/** etcd's default for --max-request-bytes, and the slack it adds for what goes around a request. */
const REQUEST_BYTES = 1.5 * 1024 * 1024;
const RESPONSE_SLACK_BYTES = 512 * 1024;

export const WATCH_LIMITS: Readonly<WatchLimits> = {
  responseBytesMax: REQUEST_BYTES + RESPONSE_SLACK_BYTES,
  copiesBytesMax: 16 * 1024,
  watchersPerStreamMax: 100_000,
  unreadAnswersMax: 1_000,
  sliceRevisionsMax: 1_000,
  sliceCostMax: 500,
  progressStreamsPerTick: 500,
};
