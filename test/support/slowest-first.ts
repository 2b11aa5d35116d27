import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take more than about 20 s, slowest first. If one of them started last, other workers would become idle. */
const SLOW_FILES = [
  'console',
  'start',
  'nats-cluster',
  'crash',
  'tenant-isolation',
  'live',
  'under-load-program',
  'under-load-two-programs',
  'refused-rows',
  'crash-test',
  'portal',
  'clocks',
  'log-plans',
  'nats-connection',
  'image',
  'endpoint-isolation',
  'live-resume',
  'outage',
  'workers',
  'replay',
  'dispatcher',
  'tenant-fairness',
  'nats-storage-limits',
  'event-catalogue',
  'slow-attempt',
  'under-load-servers',
  'metrics',
  'publish-event',
  'stop',
  'circuit',
  'retry-cancel',
  'stress',
  'socket-limits',
  'embedded-postgres',
  'subscription-rate-limit',
  'long-lock',
  'credential-end',
  'publish-failures',
  'failing-subscriptions',
].map((name) => `/test/integration/${name}.test.ts`);

/** Starts the slow files first. Vitest's own order needs durations of an earlier run on the same machine. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}

function rank({ moduleId }: TestSpecification): number {
  const index = SLOW_FILES.findIndex((file) => moduleId.endsWith(file));
  return index === -1 ? SLOW_FILES.length : index;
}
