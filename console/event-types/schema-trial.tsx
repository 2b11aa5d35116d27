import type { TryEventTypeMutation } from '../generated/graphql.ts';
import { paths } from '../paths.ts';
import { Link } from '../ui/link.tsx';
import { Mark } from '../ui/outcome.tsx';
import { Time } from '../ui/time.tsx';
import { shortened, visibleLine } from '../ui/visible-text.ts';
import { trialWords as words } from './messages.ts';
import styles from './schema-trial.module.css';

type Payload = Extract<TryEventTypeMutation['putEventType'], { readonly trial?: unknown }>;
export type Trial = NonNullable<Payload['trial']>;

/** Maximum reasons shown for an event; an array of a thousand invalid items has a thousand. */
const MAX_REASONS = 3;

/** The past events that a schema would have rejected, each with the paths in its data. */
export function SchemaTrial({ trial }: { readonly trial: Trial }) {
  const { checkedCount, rejectedCount, isComplete, samples } = trial;
  if (checkedCount === 0) return <p className={styles.trial}>{words.none}</p>;
  return (
    <div className={styles.trial}>
      {rejectedCount === 0 ? (
        <Mark tone="success" wraps>
          {words.passed(checkedCount, isComplete)}
        </Mark>
      ) : (
        <Mark tone="failure" wraps>
          {words.rejected(rejectedCount, checkedCount, isComplete)}
        </Mark>
      )}
      {samples.length > 0 && (
        <>
          {samples.length < rejectedCount && <p>{words.newest(samples.length)}</p>}
          <ul className={styles.samples} tabIndex={0} aria-label={words.label}>
            {samples.map((sample) => (
              <Sample key={`${sample.event.tenant}\n${sample.event.id}`} {...sample} />
            ))}
          </ul>
        </>
      )}
      <p>{words.nothingSaved}</p>
    </div>
  );
}

function Sample({ event: { id, tenant, createdAt }, reasons }: Trial['samples'][number]) {
  return (
    <li>
      <Link to={paths.event(tenant, id)}>
        <code>{shortened(visibleLine(id), 32)}</code>
      </Link>{' '}
      <span className={styles.when}>
        {visibleLine(tenant)}, <Time at={createdAt} />
      </span>
      {reasons.slice(0, MAX_REASONS).map(({ path, message }) => (
        <p key={`${path}\n${message}`}>
          <code>{visibleLine(path)}</code> {visibleLine(message)}
        </p>
      ))}
      {reasons.length > MAX_REASONS && <p className={styles.when}>{words.more(reasons.length - MAX_REASONS)}</p>}
    </li>
  );
}
