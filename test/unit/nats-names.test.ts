import { describe, expect, it } from 'vitest';
import { natsNames, problemOfPrefix } from '../../src/nats/names.ts';

describe('the names in NATS', () => {
  it('begin with the prefix: streams, consumers, inboxes and subjects', () => {
    const { events, deliveries, inboxPrefix, ...names } = natsNames('eu-1');
    expect([events, deliveries]).toEqual([
      { stream: 'eu-1_EVENTS', consumer: 'eu-1_dispatcher', subjects: 'eu-1.events.>' },
      { stream: 'eu-1_DELIVERIES', consumer: 'eu-1_sender', subjects: 'eu-1.deliveries.*' },
    ]);
    expect(names.eventSubject('acme', 'a.b')).toBe('eu-1.events.acme.a.b');
    expect(names.deliverySubject('s')).toBe('eu-1.deliveries.s');
    expect([names.logSubject('acme'), names.allLogSubjects]).toEqual(['eu-1.log.acme', 'eu-1.log.*']);
    expect(names.processesSubject('all')).toBe('eu-1.processes.all');
    expect(inboxPrefix).toBe('_INBOX_eu-1_webhooks');
    expect(names.parseEventSubject('eu-1.events.acme.a.b')).toEqual({ tenant: 'acme', type: 'a.b' });
    for (const subject of ['events.acme.a', 'eu-2.events.acme.a', 'eu-1.log.acme', 'eu-1.events'])
      expect(names.parseEventSubject(subject)).toBeUndefined();
  });

  it('do not change without a prefix', () => {
    const names = natsNames();
    expect(names.events).toEqual({ stream: 'EVENTS', consumer: 'dispatcher', subjects: 'events.>' });
    expect(names.deliveries).toEqual({ stream: 'DELIVERIES', consumer: 'sender', subjects: 'deliveries.*' });
    expect(names.parseEventSubject('events.acme.a')).toEqual({ tenant: 'acme', type: 'a' });
  });
});

it.each(['a', 'eu-1', 'Team_2', '9', 'x'.repeat(32)])('%j is a prefix', (prefix) => {
  expect(problemOfPrefix(prefix)).toBeUndefined();
});

it.each([
  '',
  'a.b',
  'a b',
  '*',
  '>',
  '_INBOX',
  '$JS',
  '-a',
  'ä',
  'x'.repeat(33),
  'events',
  'deliveries',
  'log',
  'senders',
  'readers',
  'processes',
  'a/b',
])('%j is not a prefix', (prefix) => {
  expect(problemOfPrefix(prefix)).toBeDefined();
});
