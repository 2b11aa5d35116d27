import type { StreamConfig } from 'nats';

/** A stream of our name with another value of these was made by somebody else, for something else. */
const IDENTITY = ['subjects', 'retention', 'storage'] as const;
/** Settings on which it depends that no message is lost or replaced. */
const COMPARED = ['discard', 'duplicate_window'] as const;
/** A stream without limits discards nothing, whatever its policy. */
const COMPARED_WITHOUT_LIMITS = ['duplicate_window'] as const;

type Name = (typeof IDENTITY | typeof COMPARED)[number];

/** A stream that has our name and is not ours. Nothing may be consumed from it, stored in it or created on it. */
export class ForeignStreamError extends Error {}

/**
 * Throws a ForeignStreamError if this is somebody else's stream. How long it keeps messages, how many, and on how many
 * servers, is the operator's choice.
 */
export function assertOwnStream(wanted: Partial<StreamConfig>, actual: Partial<StreamConfig>): void {
  const differences = compare(IDENTITY, { wanted, actual });
  if (differences.length === 0) return;
  throw new ForeignStreamError(
    `the stream ${wanted.name ?? ''} belongs to somebody else: its ${differences.join('; its ')}. Set another NATS_PREFIX, or remove that stream`,
  );
}

/** The settings of a stream of ours that differ from the definition: `duplicate_window is 120000000000, not 100000000`. */
export function streamProblems(wanted: Partial<StreamConfig>, actual: Partial<StreamConfig>): string[] {
  const isLimited = (actual.max_bytes ?? -1) > 0 || (actual.max_msgs ?? -1) > 0;
  return compare(isLimited ? COMPARED : COMPARED_WITHOUT_LIMITS, { wanted, actual });
}

function compare(
  names: readonly Name[],
  { wanted, actual }: { readonly wanted: Partial<StreamConfig>; readonly actual: Partial<StreamConfig> },
): string[] {
  return names
    .map((name) => ({ name, is: JSON.stringify(actual[name]), not: JSON.stringify(wanted[name]) }))
    .filter(({ is, not }) => is !== not)
    .map(({ name, is, not }) => `${name} is ${is}, not ${not}`);
}
