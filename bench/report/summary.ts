/** Measurements of several rounds as one number for each server, and the ratio of the two. */
import { median } from '../histogram.ts';
import type { Figures, Measurement, Subject, Work } from '../measurement.ts';

export interface Pair {
  /** Medians over the rounds. */
  readonly etcd: number | undefined;
  readonly roster: number | undefined;
  /** Roster's part of etcd's: the median of the rounds' ratios. */
  readonly ratio: number | undefined;
}

export function matching(measurements: readonly Measurement[], wanted: Partial<Work>): Measurement[] {
  const fields = Object.entries(wanted) as [keyof Work, Work[keyof Work]][];
  return measurements.filter((measurement) => fields.every(([name, value]) => measurement[name] === value));
}

export function valuesOf(measurements: readonly Measurement[], server: Subject, figure: keyof Figures): number[] {
  return measurements.flatMap((measurement) => {
    const value = measurement.server === server ? measurement.figures[figure] : undefined;
    return value === undefined ? [] : [value];
  });
}

export function pairOf(measurements: readonly Measurement[], wanted: Partial<Work>, figure: keyof Figures): Pair {
  const found = matching(measurements, wanted);
  const middle = (server: Subject): number | undefined => medianOf(valuesOf(found, server, figure));
  const rounds = [...new Set(found.map(({ round }) => round))];
  const ratios = rounds.flatMap((round) => {
    const ofRound = found.filter((measurement) => measurement.round === round);
    const [etcd] = valuesOf(ofRound, 'etcd', figure);
    const [roster] = valuesOf(ofRound, 'roster', figure);
    return etcd === undefined || roster === undefined || etcd === 0 ? [] : [roster / etcd];
  });
  return { etcd: middle('etcd'), roster: middle('roster'), ratio: medianOf(ratios) };
}

export function medianOf(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : median(values);
}

/** Every work that was done, once each, in the order of the run. */
export function worksOf(measurements: readonly Measurement[]): Work[] {
  const works = new Map<string, Work>();
  for (const { work, nodes, clients, valueBytes, keys, watchers } of measurements) {
    const one = { work, nodes, clients, valueBytes, keys, watchers };
    const name = JSON.stringify(one);
    if (!works.has(name)) works.set(name, one);
  }
  return [...works.values()];
}
