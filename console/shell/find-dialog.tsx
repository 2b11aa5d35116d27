import { useDeferredValue, useState } from 'react';
import { useQuery } from 'urql';
import { FindIdDocument, type FindIdQuery } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Icon } from '../ui/icons.tsx';
import { Link } from '../ui/link.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import styles from './shortcuts.module.css';
import { useHotkey } from './use-hotkey.ts';

/** Takes the id of any object and leads to its page. */
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
  const [text, setText] = useState('');
  const id = useDeferredValue(text.trim());
  const [{ data, fetching }] = useQuery({ query: FindIdDocument, variables: { id }, pause: id === '' });
  const found = id === '' ? [] : resultsOf(data);
  const words = messages.find;
  return (
    <>
      <input
        className={styles.field}
        aria-label={words.label}
        placeholder={words.placeholder}
        autoFocus
        spellCheck={false}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <div className={styles.results} aria-live="polite">
        <ul>
          {found.map(({ kind, to, name }) => (
            <li key={to} onClick={onFound}>
              <Link to={to}>
                <span>{kind}</span>
                <code>{visibleLine(name)}</code>
              </Link>
            </li>
          ))}
        </ul>
        {id !== '' && found.length === 0 && (
          <p className={styles.muted}>{fetching ? words.searching : words.nothing}</p>
        )}
      </div>
    </>
  );
}

type Found = { readonly kind: string; readonly to: string; readonly name: string };

function resultsOf(data: FindIdQuery | undefined): Found[] {
  const { find } = messages;
  const { delivery, webhookSubscription, event } = data ?? {};
  return [
    ...(delivery == null ? [] : [{ kind: find.delivery, to: paths.delivery(delivery.id), name: delivery.id }]),
    ...(webhookSubscription == null
      ? []
      : [
          {
            kind: find.subscription,
            to: paths.subscription(webhookSubscription.id),
            name: webhookSubscription.url,
          },
        ]),
    ...(event == null
      ? []
      : [{ kind: find.event, to: paths.event(event.tenant, event.id), name: `${event.type} ${event.id}` }]),
  ];
}
