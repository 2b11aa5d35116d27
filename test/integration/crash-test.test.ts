import { expect, inject, it } from 'vitest';
import { renderTable } from '../../bench/table.ts';
import { runCrashTest } from '../crash-test/crash-test.ts';
import { keepResult } from '../crash-test/keep-result.ts';
import { SHORT_FORM, SINGLE } from '../crash-test/schedule.ts';
import { hasPassed, rowsOf } from '../crash-test/table.ts';
import { BUNDLED_PROGRAM } from '../support/compiled-program.ts';

/** Another SEED gives other disturbances at other times. */
const SEED = Number(process.env['SEED'] ?? 1);
const EVENTS = 2_000;
const PUBLISH_MS = 20_000;

it(`the short form of npm run crash-test: everything is killed, paused and refused, and nothing is lost (seed ${SEED})`, async () => {
  const lines: string[] = [];
  const result = await runCrashTest({
    seed: SEED,
    events: EVENTS,
    topology: SINGLE,
    form: SHORT_FORM,
    publishMs: PUBLISH_MS,
    maxPublishMs: 90_000,
    natsServer: inject('natsServer'),
    postgresCluster: inject('postgresCluster'),
    program: BUNDLED_PROGRAM,
    // Longer than any stall. Messages of a killed process are redelivered after this time.
    ackWaitMs: 10_000,
    maxBacklog: 1_000,
    // Usually about 15 s. Messages that a crashed broker has lost are republished by the sweeper after up to two minutes.
    maxDrainMs: 150_000,
    // Prevents second timeouts and 20 failures in a row, which take longer than a minute.
    timeoutMs: 3_000,
    retrySchedule: Array<string>(20).fill('1s').join(),
    report: (text) => lines.push(text),
    signal: new AbortController().signal,
  });
  const { judgement, incidents } = result;
  const kept = await keepResult(result);
  const report = [...lines, renderTable(rowsOf(result)), kept].join('\n');
  expect(judgement.problems.slice(0, 20), report).toEqual([]);
  expect(hasPassed(result), report).toBe(true);
  // Enough disturbances and events happened; a busy machine publishes fewer events in the same time.
  expect(incidents.length, report).toBeGreaterThanOrEqual(8);
  expect(judgement.expected, report).toBeGreaterThan(EVENTS / 2);
}, 400_000);
