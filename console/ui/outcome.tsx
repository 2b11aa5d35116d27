import type {
  AttemptStatus,
  ConsiderationResult,
  DeliveryStatus,
  ReplayStatus,
  WaitReason,
} from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { Icon } from './icons.tsx';
import styles from './outcome.module.css';

export type Tone = 'success' | 'failure' | 'waiting' | 'neutral';

type MarkProps = {
  readonly tone: Tone;
  readonly children: string;
  readonly title?: string;
  readonly detail?: string | undefined;
  /** Whether a long text goes on in the next line. */
  readonly wraps?: boolean;
};

/** Colour, icon and word; `detail` follows in the colour of text. */
export function Mark({ tone, children, title, detail, wraps = false }: MarkProps) {
  return (
    <span className={wraps ? `${styles.mark} ${styles.wraps}` : styles.mark} title={title}>
      <span className={styles[tone]}>
        <Icon name={tone} size={14} />
        <span>{children}</span>
      </span>
      {detail !== undefined && <span className={styles.detail}>{detail}</span>}
    </span>
  );
}

export const DELIVERY_TONES: Readonly<Record<DeliveryStatus, Tone>> = {
  SUCCESS: 'success',
  FAILURE: 'failure',
  PENDING: 'waiting',
  CANCELLED: 'neutral',
};

export function DeliveryOutcome({
  status,
  waitingFor,
}: {
  readonly status: DeliveryStatus;
  readonly waitingFor?: WaitReason | null | undefined;
}) {
  const detail = status === 'PENDING' && waitingFor != null ? messages.waitReasons[waitingFor] : undefined;
  return (
    <Mark tone={DELIVERY_TONES[status]} detail={detail}>
      {messages.deliveryStatuses[status]}
    </Mark>
  );
}

export type AttemptResult = {
  readonly status: AttemptStatus;
  readonly statusCode?: number | null | undefined;
  readonly failureReason?: string | null | undefined;
};

export function AttemptOutcome(attempt: AttemptResult) {
  const tone = attempt.status === 'SUCCESS' ? 'success' : 'failure';
  return (
    <Mark tone={tone} detail={resultDetail(attempt)}>
      {messages.attemptStatuses[attempt.status]}
    </Mark>
  );
}

/** The HTTP status, or the reason why there is none. */
function resultDetail({ statusCode, failureReason }: AttemptResult): string | undefined {
  if (statusCode != null) return String(statusCode);
  return failureReason == null ? undefined : messages.failureReason(failureReason);
}

const CONSIDERED_TONES: Readonly<Record<ConsiderationResult, Tone>> = {
  DATA_REDACTED: 'neutral',
  DELIVERED_TO: 'success',
  FILTER_FALSE: 'waiting',
  INACTIVE: 'neutral',
  TYPE_MISMATCH: 'neutral',
};

export function ConsideredOutcome({ result }: { readonly result: ConsiderationResult }) {
  return <Mark tone={CONSIDERED_TONES[result]}>{messages.considered[result].word}</Mark>;
}

const REPLAY_TONES: Readonly<Record<ReplayStatus, Tone>> = {
  RUNNING: 'waiting',
  COMPLETED: 'success',
  CANCELLED: 'neutral',
  DRY_RUN: 'neutral',
};

export function ReplayOutcome({ status }: { readonly status: ReplayStatus }) {
  return <Mark tone={REPLAY_TONES[status]}>{messages.replayStatuses[status]}</Mark>;
}
