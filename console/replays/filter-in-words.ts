import { exactTime, type Zone } from '../ui/format.ts';
import { membersOf } from '../ui/json-text.ts';
import { replayFilterWords as words } from './messages.ts';

/** A delivery filter, as the server returns it, in words: "failed deliveries of order.* from … until …". */
export function filterInWords(filter: unknown, zone: Zone): string {
  const { statuses, eventTypes, subscriptionIds, from, to, ...others } = membersOf(filter);
  const parts = [
    words.deliveries(listOf(statuses).map((status) => words.statuses[status] ?? status)),
    listOf(eventTypes).length > 0 && words.ofTypes(listOf(eventTypes)),
    listOf(subscriptionIds).length > 0 && words.toSubscriptions(listOf(subscriptionIds)),
    typeof from === 'string' && words.from(exactTime(Date.parse(from), zone)),
    typeof to === 'string' && words.until(exactTime(Date.parse(to), zone)),
    ...Object.entries(others)
      .filter(([name, value]) => name !== 'tenant' && value != null)
      .map(([name, value]) => words.other(name, JSON.stringify(value))),
  ];
  return parts
    .filter((part) => part !== false)
    .join(' ')
    .replaceAll(' ,', ',');
}

/** The parameters of the list of deliveries that a filter selects, as far as the list has them. */
export function listParams(filter: unknown): { readonly subscription?: string; readonly type?: string } {
  const { subscriptionIds, eventTypes } = membersOf(filter);
  const [[subscription, ...others], [type, ...types]] = [listOf(subscriptionIds), listOf(eventTypes)];
  return {
    ...(subscription !== undefined && others.length === 0 && { subscription }),
    ...(type !== undefined && types.length === 0 && { type }),
  };
}

function listOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
