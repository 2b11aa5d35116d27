import { describe, expect, it } from 'vitest';
import { ChangePosition, inOrder, Snapshot } from '../../src/delivery-log/changes/change-position.ts';

function snapshot(text: string): Snapshot {
  const parsed = Snapshot.parse(text);
  if (parsed === undefined) throw new Error(`${text} is no snapshot`);
  return parsed;
}

const ID = '01980000-0000-7000-8000-00000000000a';
const idAt = (end: string) => ID.slice(0, -1) + end;

describe('a snapshot', () => {
  it('contains the transactions that had ended when it was taken', () => {
    const { has } = { has: (xid: bigint) => snapshot('10:15:10,12').has(xid) };
    expect([9n, 10n, 11n, 12n, 14n, 15n].map(has)).toEqual([true, false, true, false, true, false]);
  });

  it.each(['10:10:', '10:15:10,12', '7:9:7'])('is printed as Postgres prints it: %s', (text) => {
    expect(snapshot(text).toString()).toBe(text);
  });

  it('is parsed with the largest number of a transaction', () => {
    const max = 2n ** 64n - 1n;
    expect(snapshot(`${max}:${max}:`).toString()).toBe(`${max}:${max}:`);
  });

  const TOO_LARGE = String(2n ** 64n);
  const tooLarge = [`${TOO_LARGE}:2:`, `1:${TOO_LARGE}:`, `1:2:${TOO_LARGE}`];
  it.each(['', '1', '1:2', '1:2:3:4', 'a:2:', '1:-2:', '1:2:x', '1:2:3,', ...tooLarge])(
    'is not parsed from %j',
    (text) => {
      expect(Snapshot.parse(text)).toBeUndefined();
    },
  );

  it('is not parsed from a text with 6,000 transactions', () => {
    expect(Snapshot.parse(`1:2:${'1,'.repeat(6_000)}1`)).toBeUndefined();
  });

  it('is printed with at most 500 transactions in progress; those beyond count as not seen', () => {
    const xids = Array.from({ length: 800 }, (_, n) => 1_000 + 2 * n);
    const printed = snapshot(snapshot(`1000:9000:${xids.join(',')}`).toString());
    expect([printed.inProgress.size, printed.xmax]).toEqual([500, 2_000n]);
    expect([999n, 1_001n, 1_998n, 1_999n, 2_001n].map((xid) => printed.has(xid))).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });

  it('includes an earlier snapshot, and not a later one', () => {
    const [before, after] = [snapshot('10:15:10,12'), snapshot('12:16:12')];
    expect([after.includes(before), before.includes(after), before.includes(before)]).toEqual([true, false, true]);
    expect(snapshot('10:15:10').includes(snapshot('12:15:12'))).toBe(false);
  });

  it('can be extended by the transactions of a later snapshot, up to a given one', () => {
    const [before, after] = [snapshot('10:15:10,12'), snapshot('12:20:12,17')];
    expect(before.extendedTo(10n, after).toString()).toBe('12:15:12');
    expect(before.extendedTo(9n, after).toString()).toBe('10:15:10,12');
    expect(before.extendedTo(18n, after).toString()).toBe('12:19:12,17');
  });
});

describe('a position', () => {
  const [before, after] = [snapshot('10:15:10,12'), snapshot('12:20:12,17')];
  const change = { xid: 16n, id: idAt('5') };
  const position = new ChangePosition(before).after({ ...change, isLast: false }, after);

  it('contains everything up to the last seen change, and nothing after it', () => {
    const has = (xid: bigint, end: string) => position.has({ xid, id: idAt(end) });
    expect([has(10n, '9'), has(15n, '9'), has(16n, '4'), has(16n, '5')]).toEqual([true, true, true, true]);
    expect([has(12n, '1'), has(16n, '6'), has(17n, '1'), has(18n, '1')]).toEqual([false, false, false, false]);
  });

  it('contains the whole transaction after its last change', () => {
    const whole = new ChangePosition(before).after({ ...change, isLast: true }, after);
    expect(whole.toString('events')).toBe('events~12:17:12');
  });

  it('is parsed from its own text with any number of transactions in progress, and not with more than 500', () => {
    const text = (length: number) => `1:9000:${Array.from({ length }, (_, n) => n + 1).join(',')}`;
    const own = new ChangePosition(snapshot(text(1_000))).toString('events');
    expect(ChangePosition.parse(own, 'events')?.toString('events')).toBe(own);
    expect(ChangePosition.parse(`events~${text(500)}`, 'events')).toBeDefined();
    expect(ChangePosition.parse(`events~${text(501)}`, 'events')).toBeUndefined();
  });

  it('is parsed from its own text, for the same table only', () => {
    const text = position.toString('deliveries');
    expect(ChangePosition.parse(text, 'deliveries')?.toString('deliveries')).toBe(text);
    expect(ChangePosition.parse(text, 'events')).toBeUndefined();
    const whole = new ChangePosition(before).toString('events');
    expect(ChangePosition.parse(whole, 'events')?.seen.toString()).toBe('10:15:10,12');
    const ofEvery = new ChangePosition(before).toString();
    expect(ChangePosition.parse(ofEvery, 'events')?.toString('events')).toBe(whole);
  });

  it.each([
    '',
    'events',
    'events~1',
    'events~1:2:~3',
    `events~1:2:~x~${ID}`,
    'events~1:2:~3~x',
    `events~1:2:~3~${ID}~`,
    `events~1:2:~${2n ** 64n}~${ID}`,
    'events~1:99999999999999999999:',
  ])('is not parsed from %s', (text) => {
    expect(ChangePosition.parse(text, 'events')).toBeUndefined();
  });
});

it('changes are ordered by transaction, then by id; each row appears once, with its last change', () => {
  const changes = [
    { xid: 12n, id: idAt('1') },
    { xid: 9n, id: idAt('3') },
    { xid: 9n, id: idAt('2') },
    { xid: 9n, id: idAt('1') },
  ];
  expect(inOrder(changes)).toEqual([
    { ...changes[2], isLast: false },
    { ...changes[1], isLast: true },
    { ...changes[0], isLast: true },
  ]);
});
