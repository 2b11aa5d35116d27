import { DomainError } from '../lib/domain-error.ts';
import type { ReplayStatus } from '../generated/prisma/enums.ts';

/** Each running replay adds to what the tenant's endpoints get beside new events, and each count keeps Postgres busy. */
export class TooManyReplaysError extends DomainError {
  readonly code = 'TOO_MANY_REPLAYS';

  constructor(limit: number) {
    super(
      `at most ${limit} replays of a tenant can run at a time, and one can start; wait until one has ended, or cancel it`,
    );
  }
}

/** What cannot be counted in time could not be worked through either. */
export class ReplayTooLargeError extends DomainError {
  readonly code = 'REPLAY_TOO_LARGE';

  constructor() {
    super(
      'the deliveries that the filter means could not be counted in time; narrow it down, for example with from and to',
    );
  }
}

export class ReplayNotRunningError extends DomainError {
  readonly code = 'REPLAY_NOT_RUNNING';

  constructor(status: ReplayStatus) {
    super(status === 'DRY_RUN' ? 'a dry run sends nothing' : `the replay has already ended with ${status}`);
  }
}
