import { count } from '../ui/format.ts';

export const catalogueWords = {
  title: 'Event catalogue',
  label: 'Event types by name',
  types: (types: number) => (types === 1 ? '1 type' : `${count(types)} types`),
  search: 'Name or description',
  openAll: 'Open all groups',
  closeAll: 'Close all groups',
  list: 'Event types',
  listed: 'Listed',
  archived: 'Archived',
  withArchived: 'Also archived types',
  archivedHint: 'New subscriptions cannot select an archived type; its events are delivered as before.',
  description: 'Description',
  schema: 'Schema',
  schemaHint: 'JSON Schema, draft 2020-12. Once saved, events whose data does not match are rejected. Empty: any data.',
  draft: 'Draft it from the last events',
  anyData: 'any data',
  checked: 'checked',
  violated: (path: string) => `The rejected event does not match the schema at ${path}; the violated rule is marked.`,
  notFound: 'This event type is not in the catalogue',
  notFoundHint: 'Its events are delivered without a check of their data. Recently used types are under “Not listed”.',
  noSchema: 'Without a schema, any data is valid.',
  changed: 'Changed',
  subscriptions: 'Subscriptions',
  subscriptionsHint: 'Webhook subscriptions, active or inactive, that select the type by its name or a prefix.',
  selecting: (subscriptions: number | undefined) => {
    if (subscriptions === 1) return '1 that selects it';
    return `${subscriptions === undefined ? 'All' : count(subscriptions)} that select it`;
  },
  lastEvent: 'Last event',
  example: 'Example: the last event.',
  exampleOf: (tenant: string) => `Example: the last event, of the tenant ${tenant}.`,
  noExample: 'No event of this type is stored, so there is no example.',
  noRecentExample: 'No event of this type is among the latest 10,000 of all tenants, so there is no example.',
  add: 'Add an event type',
  edit: 'Edit',
  events: 'Events of this type',
  eventsOf: (name: string) => `Events of type ${name}`,
  empty: 'The catalogue is empty',
  emptyHint:
    'Events of types that are not listed are delivered without a check of their data. Once there is an entry, subscriptions can select listed types only.',
  addHint: 'The button “Add an event type” adds the first one.',
  operatorsAdd: 'Operators add them.',
  tryIt: 'Try on past events',
  unlistedCount: (types: number) => `Not listed (${count(types)}${types < MAX_OBSERVED ? '' : ' or more'})`,
  unlistedLabel: 'Types of the events of the last 7 days that are not in the catalogue',
  noUnlisted: 'Every event type is listed',
  noUnlistedHint: 'No event of the last 7 days has a type that is not in the catalogue.',
  addThis: 'Add',
  addType: (name: string) => `Add ${name} to the catalogue`,
} as const;

/** The server returns no more. */
const MAX_OBSERVED = 250;

export const trialWords = {
  label: 'Past events that the schema would reject',
  none: 'No event of this type is stored, so there is nothing to try the schema on.',
  passed: (checked: number, isComplete: boolean) =>
    checked === 1 && isComplete
      ? 'The only stored event matches the schema.'
      : `All of the ${scopeOf(checked, isComplete)} match the schema.`,
  rejected: (rejected: number, checked: number, isComplete: boolean) =>
    checked === 1 && isComplete
      ? 'The only stored event would have been rejected.'
      : `${count(rejected)} of the ${scopeOf(checked, isComplete)} would have been rejected.`,
  newest: (samples: number) => `The newest ${count(samples)}:`,
  more: (reasons: number) => `${count(reasons)} more`,
  nothingSaved: 'Nothing is saved yet.',
} as const;

function scopeOf(checked: number, isComplete: boolean): string {
  return isComplete ? `${count(checked)} stored events` : `newest ${count(checked)} events`;
}
