import type { StreamConfig } from 'nats';

/** What it depends on that nothing is lost or takes another's place. How long messages are kept is the operator's choice. */
const COMPARED = ['subjects', 'retention', 'storage', 'discard', 'duplicate_window'] as const;

/** What is not as wanted: `retention is "limits", not "workqueue"`. */
export function streamProblems(wanted: Partial<StreamConfig>, actual: Partial<StreamConfig>): string[] {
  return COMPARED.map((name) => ({ name, is: JSON.stringify(actual[name]), not: JSON.stringify(wanted[name]) }))
    .filter(({ is, not }) => is !== not)
    .map(({ name, is, not }) => `${name} is ${is}, not ${not}`);
}
