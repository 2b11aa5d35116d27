import { count } from '../ui/format.ts';

export const jobsWords = {
  title: 'Bulk jobs',
  label: 'Bulk jobs, newest first',
  one: { RETRY: 'Bulk job: retry deliveries', CANCEL: 'Bulk job: cancel deliveries' },
  unknown: 'Bulk job',
  kinds: { RETRY: 'Retry', CANCEL: 'Cancel' },
  kind: 'Bulk job',
  notFound: 'There is no bulk job with this id',
  notFoundHint: 'It belongs to another tenant, or is no longer kept.',
  changed: { RETRY: 'Retried', CANCEL: 'Cancelled' },
  skippedHint:
    'These deliveries had changed meanwhile or were in flight. A retry also skips deliveries of an inactive or deleted subscription, and deliveries whose event is no longer kept.',
  deliveries: 'Deliveries',
  cancel: 'Stop the job',
  retry: 'Retry deliveries',
  retryHint:
    'Each delivery gets another attempt. Open circuits, pauses and limits are observed. The deliveries are counted first.',
  retryCounted: (deliveries: number) =>
    deliveries === 1 ? 'Retry one delivery' : `Retry ${count(deliveries)} deliveries`,
  cancelMany: 'Cancel deliveries',
  cancelHint:
    'Pending deliveries get no further attempt. Attempts in flight are finished. The deliveries are counted first.',
  cancelCounted: (deliveries: number) =>
    deliveries === 1 ? 'Cancel one delivery' : `Cancel ${count(deliveries)} deliveries`,
  empty: 'No bulk job yet',
  emptyHint:
    'A bulk job retries or cancels the deliveries that match a filter, for example after an outage of an endpoint.',
} as const;
