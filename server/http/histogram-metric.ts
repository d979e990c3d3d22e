/** Puts our own histograms into prom-client's registry: they are only turned into text when somebody scrapes. */
import type { Metric, Registry } from 'prom-client';
import { DurationHistogram } from '../duration-histogram.ts';

export interface LabelledHistogram {
  readonly labels: Readonly<Record<string, string>>;
  readonly histogram: DurationHistogram;
}

interface Value {
  labels: Record<string, string | number>;
  value: number;
  metricName: string;
}

const SECOND_MS = 1000;

/** In seconds, as Prometheus wants it; some older ones of etcd have units of another length. */
export function histogramMetric(
  registry: Registry,
  name: string,
  help: string,
  read: () => readonly LabelledHistogram[],
  unitMs: number = SECOND_MS,
): void {
  const metric = {
    name,
    get: () => Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values: read().flatMap(values) }),
    reset: () => {},
  };
  const values = (one: LabelledHistogram) => valuesOf(name, one, unitMs);
  // What a registry asks of a metric is `name` and `get`; its type wants one of the package's own classes.
  registry.registerMetric(metric as unknown as Metric);
}

/** Both must have the same bounds. */
export function merged(one: DurationHistogram, other: DurationHistogram): DurationHistogram {
  const both = new DurationHistogram(one.boundsMs);
  for (let i = 0; i < both.counts.length; i++) both.counts[i] = one.counts[i]! + other.counts[i]!;
  both.sumMs = one.sumMs + other.sumMs;
  return both;
}

function valuesOf(name: string, { labels, histogram }: LabelledHistogram, unitMs: number): Value[] {
  let below = 0;
  const values: Value[] = histogram.boundsMs.map((bound, i) => {
    below += histogram.counts[i]!;
    return { labels: { ...labels, le: bound / unitMs }, value: below, metricName: `${name}_bucket` };
  });
  const count = below + histogram.counts.at(-1)!;
  values.push({ labels: { ...labels, le: '+Inf' }, value: count, metricName: `${name}_bucket` });
  values.push({ labels: { ...labels }, value: histogram.sumMs / unitMs, metricName: `${name}_sum` });
  values.push({ labels: { ...labels }, value: count, metricName: `${name}_count` });
  return values;
}
