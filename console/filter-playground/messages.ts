import { count } from '../ui/format.ts';

export const filterPlaygroundWords = {
  title: 'Payload filter',
  filter: 'Filter',
  hint: 'JSON, such as {"total": {"$gt": 100}}. Empty: every event of the event types.',
  testing: 'Testing',
  matching: (matching: number, all: number) => `${count(matching)} of ${count(all)} events would be delivered`,
  change: (gained: number, lost: number) =>
    gained + lost === 0 ? 'the same as now' : `${count(gained)} more and ${count(lost)} fewer than now`,
  label: 'The latest events, newest first',
  result: 'Result',
  conditions: 'Conditions not matched',
  matches: 'Matches',
  filteredOut: 'Filtered out',
  gained: 'new',
  lost: 'no longer',
  empty: 'No event of these types yet',
  emptyHint: 'The filter is tried on the latest 200 events of the event types of this subscription.',
  invalid: 'The filter is not valid',
  invalidHint: 'It is tried again when its problems are fixed.',
  pickSample: 'Select an event to see its data here. Values that do not match the filter are marked.',
  save: 'Save',
  saveTitle: 'Save the filter',
  saveHint: 'It applies to every event published from now on.',
  conflict:
    'This subscription was changed meanwhile. The comparison shows the filter that is saved now; save again to replace it.',
  saved: 'The filter is saved',
  noFilter: 'no filter',
  missed: (events: number) =>
    events === 1
      ? 'One of the latest events matches the new filter only. It was not delivered.'
      : `${count(events)} of the latest events match the new filter only. They were not delivered.`,
  removed: 'Removed',
  added: 'Added',
} as const;
