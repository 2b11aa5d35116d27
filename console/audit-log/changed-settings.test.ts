import { expect, test } from 'vitest';
import { changedNames, settingsText } from './changed-settings.ts';

test('the changed settings of an entry', () => {
  expect(changedNames({ url: 'a' }, { url: 'b', filter: null })).toBe('url, filter');
  expect(changedNames(null, null)).toBe('');
  expect(settingsText({ url: 'b', eventTypes: ['*'] })).toBe('eventTypes: [\n  "*"\n]\nurl: "b"');
  expect(settingsText(null)).toBe('');
});
