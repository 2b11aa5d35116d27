import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take more than some 20 s, slowest first. Started last, each would be waited for while other workers idle. */
const SLOW_FILES = [
  'crash-test',
  'console',
  'start',
  'crash',
  'live',
  'under-load-program',
  'under-load-two-programs',
  'nats-connection',
  'outage',
  'poison',
  'clocks',
  'under-load-servers',
  'live-resume',
  'replay',
  'isolation',
  'dispatcher',
  'tenant-isolation',
  'slow-attempt',
  'log-plans',
  'nats-cluster',
  'publish-trouble',
  'circuit',
  'sockets',
  'event-catalogue',
  'metrics',
  'credential-end',
  'embedded-postgres',
  'long-lock',
  'failing',
  'rate-limit',
  'stop',
  'workers',
].map((name) => `/test/integration/${name}.test.ts`);

/** Starts the slow files first; a machine that has not run the tests before knows nothing of their durations. */
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
