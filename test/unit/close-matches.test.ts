import { expect, it } from 'vitest';
import { closeMatches } from '../../src/lib/text.ts';

const NAMES = ['conversation.created', 'conversation.closed', 'order.paid', 'order.pait', 'NEW_MESSAGE'];

it.each([
  ['conversation.craeted', ['conversation.created']],
  ['Conversation_Created', ['conversation.created']],
  ['new.message', ['NEW_MESSAGE']],
  ['order.pai', ['order.paid', 'order.pait']],
  ['order.pait', ['order.pait', 'order.paid']],
  ['invoice.sent', []],
  ['x'.repeat(256), []],
])('%s is close to %j', (text, expected) => {
  expect(closeMatches(text, NAMES)).toEqual(expected);
});
