import type { AttemptDetailsFragment } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { Button } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { AttemptOutcome } from '../ui/outcome.tsx';
import { Time } from '../ui/time.tsx';
import type { DeliveryDetails } from './delivery-view.tsx';
import styles from './timeline.module.css';
import { NextIn } from './waits.tsx';

const words = messages.delivery;

type TimelineProps = {
  readonly delivery: DeliveryDetails;
  /** Newest first. */
  readonly attempts: readonly AttemptDetailsFragment[];
  /** Reads older attempts; undefined if there are none. */
  readonly onOlder: (() => void) | undefined;
  readonly selectedId: string | undefined;
  readonly onSelect: (id: string) => void;
};

/** The attempts, newest first, below the planned or running one. */
export function Timeline({ delivery, attempts, onOlder, selectedId, onSelect }: TimelineProps) {
  return (
    <section aria-label={words.timeline} className={styles.timeline}>
      <h2>{words.timeline}</h2>
      <ol>
        {delivery.status === 'PENDING' && <Coming delivery={delivery} />}
        {attempts.map((attempt) => (
          <li key={attempt.id}>
            <button
              type="button"
              className={styles.attempt}
              aria-pressed={attempt.id === selectedId}
              onClick={() => onSelect(attempt.id)}
            >
              <span className={styles.number}>{attempt.number}</span>
              <AttemptOutcome {...attempt} />
              <span className={styles.when}>
                {attempt.responseTimeMs} ms · <Time at={attempt.startedAt} />
              </span>
            </button>
          </li>
        ))}
        {attempts.length === 0 && delivery.status !== 'PENDING' && <li className={styles.none}>{words.noAttempts}</li>}
      </ol>
      {onOlder !== undefined && (
        <p className={styles.older}>
          <Button onClick={onOlder}>{words.older}</Button>
        </p>
      )}
    </section>
  );
}

function Coming({ delivery: { attemptCount, nextAttemptAt, waitingFor } }: { readonly delivery: DeliveryDetails }) {
  const number = attemptCount + 1;
  return (
    <li className={styles.coming}>
      <span className={styles.number}>{number}</span>
      <span className={styles.word}>
        <Icon name="waiting" size={14} />
        {nextAttemptAt == null ? words.inFlight(number) : words.planned(number)}
      </span>
      <span className={styles.when}>
        {nextAttemptAt == null ? (
          words.inFlightHint
        ) : (
          <>
            {waitingFor != null && `${messages.waitReasons[waitingFor] ?? waitingFor}, `}
            <NextIn at={nextAttemptAt} />
          </>
        )}
      </span>
    </li>
  );
}
