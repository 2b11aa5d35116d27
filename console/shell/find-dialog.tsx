import { useEffect, useRef, useState } from 'react';
import { useQuery } from 'urql';
import { FindDocument, type FindQuery } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Icon } from '../ui/icons.tsx';
import { Link } from '../ui/link.tsx';
import { describeError } from '../ui/states.tsx';
import { useDebounced } from '../ui/use-debounced.ts';
import { isUuid } from '../ui/uuid.ts';
import { visibleLine, visibleText } from '../ui/visible-text.ts';
import { IS_PORTAL } from './front-end.ts';
import styles from './shortcuts.module.css';
import { useHotkey } from './use-hotkey.ts';

/** Finds the page of an object by its id. Enter opens the first one. */
export function FindDialog() {
  const [isOpen, setOpen] = useState(false);
  useHotkey('mod+k', () => setOpen(true));
  return (
    <>
      <button type="button" className={styles.button} onClick={() => setOpen(true)} title={messages.find.title}>
        <Icon name="search" />
        <span>{messages.find.title}</span>
        <kbd>⌘K</kbd>
      </button>
      {isOpen && (
        <Dialog title={messages.find.title} onClose={() => setOpen(false)}>
          <Find onFound={() => setOpen(false)} />
        </Dialog>
      )}
    </>
  );
}

function Find({ onFound }: { readonly onFound: () => void }) {
  const [sought, setSought] = useState('');
  const { text, type, pass } = useDebounced(sought, setSought);
  const [{ data, error, fetching }] = useQuery({
    query: FindDocument,
    variables: { text: sought },
    pause: sought === '',
  });
  const found = sought === '' || data === undefined ? [] : resultsOf(data.search);
  const words = messages.find;
  // Enter can be pressed before the answer is there, as after a pasted id.
  const [isEntered, setEntered] = useState(false);
  const list = useRef<HTMLUListElement>(null);
  const isAnswered = !fetching && sought === text.trim();
  useEffect(() => {
    if (isEntered && isAnswered) list.current?.querySelector('a')?.click();
  }, [isEntered, isAnswered]);
  return (
    <>
      <input
        className={styles.field}
        aria-label={words.label}
        placeholder={words.placeholder}
        spellCheck={false}
        value={text}
        onChange={(event) => {
          type(event.target.value);
          setEntered(false);
        }}
        onKeyDown={({ key }) => {
          if (key !== 'Enter') return;
          pass();
          setEntered(true);
        }}
      />
      <div className={styles.results} aria-live="polite">
        <ul ref={list}>
          {found.map(({ kind, to, name, isForEveryTenant }) => (
            <li key={to} onClick={onFound}>
              <Link to={to} isForEveryTenant={isForEveryTenant === true}>
                <span>{kind}</span>
                <code>{visibleLine(name)}</code>
              </Link>
            </li>
          ))}
        </ul>
        {sought !== '' && found.length === 0 && (
          <div className={styles.muted}>
            {fetching ? words.searching : data !== undefined && <Nothing sought={sought} onLeave={onFound} />}
            {error !== undefined && !fetching && visibleText(describeError(error))}
          </div>
        )}
      </div>
    </>
  );
}

type NothingProps = { readonly sought: string; readonly onLeave: () => void };

/** Shown if nothing is found: links to the audit log, which has deleted objects, and to rejected events. */
function Nothing({ sought, onLeave }: NothingProps) {
  const { find, navigation } = messages;
  if (IS_PORTAL) return <>{find.nothing}</>;
  return (
    <div className={styles.nothing} onClick={onLeave}>
      <p>{find.nothing}</p>
      {isUuid(sought) && (
        <p>
          {find.orDeleted}{' '}
          <Link to={paths.auditLog({ object: sought })} isForEveryTenant>
            {find.changesOf}
          </Link>
        </p>
      )}
      <p>
        {find.orRejected} <Link to={paths.rejectedEvents()}>{navigation.rejectedEvents}</Link>
      </p>
      <p>{find.orLost}</p>
    </div>
  );
}

type Found = {
  readonly kind: string;
  readonly to: string;
  readonly name: string;
  readonly isForEveryTenant?: boolean;
};

function resultsOf(result: FindQuery['search']): Found[] {
  const found = [...inEachFrontEnd(result), ...(IS_PORTAL ? [] : inConsole(result))];
  return found.filter((each) => each !== false);
}

function inEachFrontEnd(result: FindQuery['search']): (Found | false)[] {
  const { find } = messages;
  const { delivery, attempt, webhookSubscription, webhookSubscriptionOfSecret: signed, event, eventType } = result;
  return [
    delivery != null && { kind: find.delivery, to: paths.delivery(delivery.id), name: delivery.id },
    attempt?.delivery != null && {
      kind: find.attempt,
      to: paths.delivery(attempt.delivery.id, attempt.id),
      name: attempt.id,
    },
    webhookSubscription != null && {
      kind: find.subscription,
      to: paths.subscription(webhookSubscription.id),
      name: webhookSubscription.url,
    },
    signed != null && { kind: find.secret, to: paths.subscription(signed.id), name: signed.url },
    event != null && {
      kind: IS_PORTAL ? find.event : find.eventOf(visibleLine(event.tenant)),
      to: paths.event(event.tenant, event.id),
      name: `${event.type} ${event.id}`,
    },
    eventType != null && { kind: find.eventType, to: paths.eventType(eventType.name), name: eventType.name },
  ];
}

/** Objects without a page in the portal. */
function inConsole(result: FindQuery['search']): (Found | false)[] {
  const { find } = messages;
  const { replay, deliveryJob, rejectedEvent, auditEntry, session, apiKey, erasure, tenant } = result;
  return [
    replay != null && { kind: find.replay, to: paths.replay(replay.id), name: replay.id },
    deliveryJob != null && { kind: find.job, to: paths.job(deliveryJob.id), name: deliveryJob.id },
    rejectedEvent != null && {
      kind: find.rejectedEvent,
      to: paths.rejectedEvents(rejectedEvent.id),
      name: rejectedEvent.message,
    },
    auditEntry != null && {
      kind: find.auditEntry,
      to: paths.auditLog({ entry: auditEntry.id }),
      name: auditEntry.mutation,
    },
    // A session has no page; the audit log shows its rights.
    session != null && {
      kind: find.session,
      to: paths.auditLog({ object: session.id }),
      name: session.subject ?? session.id,
      isForEveryTenant: true,
    },
    apiKey != null && { kind: find.apiKey, to: paths.keys(apiKey.id), name: apiKey.name },
    erasure != null && { kind: find.erasure, to: paths.erasures(erasure.id), name: erasure.tenant },
    tenant != null && {
      kind: find.tenant,
      to: paths.subscriptions({ tenant: tenant.name }),
      name: tenant.name,
      isForEveryTenant: true,
    },
  ];
}
