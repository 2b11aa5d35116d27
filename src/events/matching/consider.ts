import type { MatchingSettings } from './considered-subscriptions.ts';
import { matchesPattern } from '../event-type.ts';

/** Why an event was or was not delivered to a webhook subscription. */
export type ConsiderationResult = 'DELIVERED_TO' | 'INACTIVE' | 'TYPE_MISMATCH' | 'FILTER_FALSE';

/** The decision of SubscriptionIndex about an event under these settings. The filter is evaluated only if the decision depends on it. */
export async function consider(
  { isActive, eventTypes, filter, isSkipped }: MatchingSettings,
  event: { readonly type: string; readonly fulfils: (filter: unknown) => Promise<boolean> },
): Promise<ConsiderationResult> {
  if (!isActive) return 'INACTIVE';
  if (!eventTypes.some((pattern) => matchesPattern(pattern, event.type))) return 'TYPE_MISMATCH';
  if (filter === null) return 'DELIVERED_TO';
  return !isSkipped && (await event.fulfils(filter)) ? 'DELIVERED_TO' : 'FILTER_FALSE';
}
