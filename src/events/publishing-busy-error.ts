import { DomainError } from '../lib/domain-error.ts';

/** More events wait to be written than may, or they could not be written in time: the publisher may try again. */
export class PublishingBusyError extends DomainError {
  readonly code = 'SERVICE_UNAVAILABLE';

  constructor() {
    super('events are published faster than they can be written; try again in a moment');
  }
}
