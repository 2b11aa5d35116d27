import { PassThrough } from 'node:stream';
import { Counter, Gauge, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { readConfig } from '../../src/config/config.ts';
import { defaultWorkers } from '../../src/config/variables.ts';
import { type MetricValues, mergeMetrics } from '../../src/server/metrics.ts';
import { AccumulatedMetrics } from '../../src/workers/accumulated-metrics.ts';
import { divideWork } from '../../src/workers/divide-work.ts';
import { forwardLines } from '../../src/workers/worker-process.ts';

test('workers take the roles dispatcher and sender, and an equal part of the connections', () => {
  const { main, workers } = divideWork(readConfig({ WORKERS: '3', DATABASE_POOL_SIZE: '20' }));
  expect(main).toMatchObject({ roles: new Set(['api']), databasePoolSize: 20 });
  expect(workers).toMatchObject({
    count: 3,
    config: { roles: new Set(['dispatcher', 'sender']), databasePoolSize: 7 },
  });
  const many = divideWork(readConfig({ WORKERS: '64', ROLES: 'sender' }));
  expect(many.main.roles).toEqual(new Set());
  expect(many.workers?.config).toMatchObject({ roles: new Set(['sender']), databasePoolSize: 4 });
});

test('there are no workers without WORKERS, or without a role for them', () => {
  for (const env of [{ WORKERS: '0' }, { WORKERS: '3', ROLES: 'api' }]) {
    const config = readConfig(env);
    expect(divideWork(config)).toEqual({ main: config, workers: undefined });
  }
});

test('one or two processors have no workers by default, and no machine more than eight', () => {
  expect([1, 2, 3, 4, 8, 64].map(defaultWorkers)).toEqual([0, 0, 2, 3, 7, 8]);
});

async function valuesOf(attempts: number, inFlight: number, isUp: number): Promise<MetricValues> {
  const registers = [new Registry()];
  new Counter({ registers, name: 'attempts', help: 'Attempts', labelNames: ['status'] }).inc(
    { status: 'ok' },
    attempts,
  );
  new Gauge({ registers, name: 'in_flight', help: 'In flight' }).set(inFlight);
  new Gauge({ registers, name: 'up', help: 'Up', aggregator: 'min' }).set(isUp);
  return (await registers[0]?.getMetricsAsJSON()) ?? [];
}

test('counters and gauges of several processes are added up, and a gauge with another aggregator is not', async () => {
  const text = await mergeMetrics([await valuesOf(1, 2, 1), await valuesOf(10, 20, 0)]).metrics();
  expect(text).toContain('attempts{status="ok"} 11\n');
  expect(text).toContain('in_flight 22\n');
  expect(text).toContain('up 0\n');
});

test('the counters of a worker are kept when its process exits or does not answer, but its gauges are not', async () => {
  const metrics = new AccumulatedMetrics();
  const show = async (values: MetricValues | undefined) => mergeMetrics(metrics.with(values)).metrics();
  expect(await show(undefined)).toBe('\n');
  await show(await valuesOf(5, 3, 1));
  expect(await show(undefined)).toContain('attempts{status="ok"} 5\n');
  await metrics.retire();
  expect(await show(undefined)).not.toContain('in_flight');
  const restarted = await show(await valuesOf(2, 1, 1));
  expect(restarted).toContain('attempts{status="ok"} 7\n');
  expect(restarted).toContain('in_flight 1\n');
  await metrics.retire();
  await metrics.retire();
  expect(await show(undefined)).toContain('attempts{status="ok"} 7\n');
});

test('the lines of a worker are forwarded whole, even a last line without a newline', async () => {
  const source = new PassThrough();
  const written: string[] = [];
  forwardLines(source, (lines) => written.push(lines));
  for (const chunk of ['{"a":1}\n{"b"', ':2}', '\n{"c":3}\n', '{"d"']) source.write(chunk);
  source.end();
  await new Promise((resolve) => source.once('close', resolve));
  expect(written).toEqual(['{"a":1}\n', '{"b":2}\n{"c":3}\n', '{"d"\n']);
});
