import { DomainError } from '../../lib/domain-error.ts';

/** There is nothing left to retry, or nothing to retry it with. */
export class DeliveryNotRetryableError extends DomainError {
  readonly code = 'DELIVERY_NOT_RETRYABLE';

  constructor(why: 'SUCCESS' | 'CANCELLED' | 'EVENT_GONE') {
    super(
      why === 'EVENT_GONE'
        ? "the event's data is no longer kept, so it cannot be sent again"
        : `the delivery has ended with ${why}; start a replay to send its event again`,
    );
  }
}

/** Only what has not ended can be cancelled. */
export class DeliveryNotPendingError extends DomainError {
  readonly code = 'DELIVERY_NOT_PENDING';

  constructor(status: 'SUCCESS' | 'FAILURE') {
    super(`the delivery has already ended with ${status}`);
  }
}
