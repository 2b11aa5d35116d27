import { describe, expect, it } from 'vitest';
import {
  type CircuitDecision,
  type CircuitStats,
  DEACTIVATE_AFTER_MS,
  deactivationTime,
  evaluateCircuit,
  LAST_NOTICE_MS,
} from '../../src/delivery/circuit/evaluate.ts';

const WELL: CircuitStats = {
  isOpen: false,
  failuresInARow: 1,
  recent: { attempts: 1, failures: 1 },
  failingForMs: 0,
  noticeCount: 0,
  noticedForMs: 0,
};
const OPEN: CircuitStats = { ...WELL, isOpen: true, failuresInARow: 20, noticeCount: 1, noticedForMs: LAST_NOTICE_MS };
const NOTHING: CircuitDecision = { kind: 'nothing' };
const opens = (noticeCount = 1, progressPercent = 0): CircuitDecision => ({
  kind: 'open',
  noticeCount,
  progressPercent,
});

describe('a closed circuit', () => {
  const rate = (attempts: number, failures: number) => ({ recent: { attempts, failures } });

  it.each<[what: string, Partial<CircuitStats>, CircuitDecision]>([
    ['stays closed at 19 failures in a row', { failuresInARow: 19 }, NOTHING],
    ['opens at 20 failures in a row, however long they took', { failuresInARow: 20 }, opens()],
    ['stays closed when 9 of 9 recent attempts failed', rate(9, 9), NOTHING],
    ['opens when 7 of 10 recent attempts failed', rate(10, 7), opens()],
    ['stays closed when 6 of 10 recent attempts failed', rate(10, 6), NOTHING],
    ['opens when 700 of 1,000 recent attempts failed', rate(1_000, 700), opens()],
    ['stays closed when 699 of 1,000 recent attempts failed', rate(1_000, 699), NOTHING],
    ['stays closed without attempts', { ...rate(0, 0), failuresInARow: 0 }, NOTHING],
    ['leads to no notice, however long there was no success', { failingForMs: DEACTIVATE_AFTER_MS - 1 }, NOTHING],
    ['leads to no deactivation either', { failingForMs: 10 * DEACTIVATE_AFTER_MS }, NOTHING],
  ])('%s', (_what, health, decision) => {
    expect(evaluateCircuit({ ...WELL, ...health })).toEqual(decision);
  });

  it.each<[share: number, CircuitDecision]>([
    [0.499, opens()],
    [0.5, opens(2, 50)],
    [0.75, opens(3, 70)],
    [0.9, opens(4, 90)],
    [3, opens(4, 90)],
  ])('that opens after %d of the five days has the due notice, and never deactivates at once', (share, decision) => {
    expect(evaluateCircuit({ ...WELL, failuresInARow: 20, failingForMs: share * DEACTIVATE_AFTER_MS })).toEqual(
      decision,
    );
  });
});

describe('an open circuit', () => {
  const notice = (noticeCount: number, progressPercent: number): CircuitDecision => ({
    kind: 'notice',
    noticeCount,
    progressPercent,
  });

  it.each<[what: string, after: readonly [share: number, noticeCount: number], CircuitDecision]>([
    ['nothing before half of the five days', [0.4999, 1], NOTHING],
    ['a notice at half of the five days', [0.5, 1], notice(2, 50)],
    ['only one notice at half of the five days', [0.5, 2], NOTHING],
    ['nothing before 70 %', [0.6999, 2], NOTHING],
    ['a notice at 70 %', [0.7, 2], notice(3, 70)],
    ['nothing before 90 %', [0.8999, 3], NOTHING],
    ['a notice at 90 %', [0.9, 3], notice(4, 90)],
    ['nothing before the end of the five days', [0.9999, 4], NOTHING],
    ['one notice if several were due', [0.95, 1], notice(4, 90)],
    ['deactivation at the end of the five days', [1, 4], { kind: 'deactivate' }],
    ['the last notice before deactivation, however late', [1.5, 1], notice(4, 90)],
    ['the last notice before deactivation, if only that is missing', [1, 3], notice(4, 90)],
  ])('leads to %s', (_what, [share, noticeCount], decision) => {
    expect(evaluateCircuit({ ...OPEN, noticeCount, failingForMs: share * DEACTIVATE_AFTER_MS })).toEqual(decision);
  });

  it('leads to deactivation half a day after the last notice, if that was late', () => {
    const late = { ...OPEN, noticeCount: 4, failingForMs: 2 * DEACTIVATE_AFTER_MS };
    expect(evaluateCircuit({ ...late, noticedForMs: LAST_NOTICE_MS - 1 })).toEqual(NOTHING);
    expect(evaluateCircuit({ ...late, noticedForMs: LAST_NOTICE_MS })).toEqual({ kind: 'deactivate' });
    expect(LAST_NOTICE_MS).toBe(12 * 3_600_000);
  });
});

describe('the time of the deactivation', () => {
  const since = new Date(0);
  const failing = { openedAt: since, failingSince: since, noticeCount: 1, noticedAt: since };
  const at = (ms: number) => new Date(ms);

  it('is five days after the first failure', () => {
    expect(deactivationTime(failing, since)).toEqual(at(DEACTIVATE_AFTER_MS));
  });

  it.each([
    ['is due now', { noticeCount: 3 }],
    ['was sent late', { noticeCount: 4, noticedAt: at(DEACTIVATE_AFTER_MS) }],
  ])('leaves half a day after the last notice, which %s', (_what, state) => {
    const time = deactivationTime({ ...failing, ...state }, at(DEACTIVATE_AFTER_MS));
    expect(time).toEqual(at(DEACTIVATE_AFTER_MS + LAST_NOTICE_MS));
  });

  it('is not planned while the circuit is closed or without a failure', () => {
    expect(deactivationTime({ ...failing, openedAt: null }, since)).toBeUndefined();
    expect(deactivationTime({ ...failing, failingSince: null }, since)).toBeUndefined();
  });
});
