import { count } from '../ui/format.ts';

export const overviewWords = {
  title: 'Overview',
  range: 'Period',
  ranges: { '1h': 'Last hour', '24h': 'Last 24 hours', '7d': 'Last 7 days', '30d': 'Last 30 days' },
  succeeded: 'Succeeded',
  failed: 'Failed',
  successRate: 'Success rate',
  latency: 'Response time p50 / p95',
  latencyOf: (p50: number, p95: number) => `${count(p50)} / ${count(p95)} ms`,
  pending: 'Pending',
  period: 'Period',
  outcomes: (succeeded: number, failed: number, range: string) =>
    `${count(succeeded)} succeeded, ${count(failed)} failed in the ${range.toLowerCase()}`,
  nothing: (range: string) => `No attempt in the ${range.toLowerCase()}`,
  failing: (subscriptions: number, hasMore: boolean) => {
    if (subscriptions === 0) return 'No failing subscription';
    if (hasMore) return `More than ${count(subscriptions)} failing subscriptions`;
    return subscriptions === 1 ? 'One failing subscription' : `${count(subscriptions)} failing subscriptions`;
  },
  allFailing: 'All failing subscriptions',
  deactivated: (subscriptions: number, hasMore: boolean) => {
    const number = count(subscriptions);
    if (hasMore) return `More than ${number} subscriptions deactivated by the engine`;
    return subscriptions === 1
      ? 'One subscription deactivated by the engine'
      : `${number} subscriptions deactivated by the engine`;
  },
  allInactive: 'All inactive subscriptions',
  oldest: 'Oldest pending',
  deactivation: 'Deactivation',
  reasons: 'Most frequent failure reasons',
  noFailures: 'No failure',
  rejected: 'Newest rejected events',
  allRejected: 'All rejected events',
} as const;

export const healthWords = {
  title: 'Server',
  works: 'All parts of the server work',
  withProblems: 'The server works, with problems',
  notReady: 'The server is not ready',
  notKnown: 'The state of the server is unknown',
  noAnswer: 'It does not answer',
  broken: 'It does not work',
  notNeeded: 'The process that answered does not need it',
  version: (version: string) => `Version ${version}, checked`,
  checkAgain: 'Check again',
} as const;

export const processesWords = {
  title: 'Processes',
  ready: (total: number) => `${count(total)} processes`,
  withProblems: (total: number) => `${count(total)} processes, with problems`,
  notReady: (failures: number, total: number) => `${count(failures)} of ${count(total)} processes not ready`,
  missing: (problem: string) => `The list can be incomplete: ${problem}`,
  host: 'Host',
  process: 'Process',
  processOf: (pid: number, worker: number | null | undefined) =>
    worker == null ? `${pid}` : `${pid}, worker ${worker}`,
  roles: 'Roles',
  state: 'State',
  states: { success: 'Ready', waiting: 'Ready, with problems', failure: 'Not ready' },
  noAnswer: 'No answer',
  lastAnswer: (ago: string) => `the last one ${ago}`,
  version: 'Version',
  started: 'Started',
  memory: 'Memory',
  inFlight: 'Attempts in flight',
} as const;
