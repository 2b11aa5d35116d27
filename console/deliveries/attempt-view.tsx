import type { ReactNode } from 'react';
import type { AttemptDetailsFragment } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { bytes } from '../ui/format.ts';
import { Id } from '../ui/id.tsx';
import { JsonView } from '../ui/json-view.tsx';
import { Body } from '../ui/text-block.tsx';
import { visibleLine, visibleText } from '../ui/visible-text.ts';
import styles from './attempt-view.module.css';
import { headerLines } from './curl.ts';

const words = messages.delivery;

type AttemptViewProps = {
  readonly attempt: AttemptDetailsFragment;
  readonly url: string;
  /** Undefined: the event is no longer kept. */
  readonly data: { readonly value: unknown } | undefined;
};

/** Request and response of one attempt, side by side where there is room. */
export function AttemptView({ attempt, url, data }: AttemptViewProps) {
  return (
    <div className={styles.sides}>
      <Side title={words.request} note={bytes(attempt.payloadSizeBytes)}>
        <p className={styles.line}>POST {visibleLine(url)}</p>
        <Headers headers={attempt.requestHeaders} />
        {attempt.signingSecretIds.length > 0 && (
          <p className={styles.signed}>
            {words.signedWith}{' '}
            {attempt.signingSecretIds.map((id) => (
              <Id key={id} value={id} length={24} />
            ))}
          </p>
        )}
        <Part title={words.body}>
          {data === undefined ? (
            <p className={styles.none}>{words.eventGone}</p>
          ) : (
            <JsonView value={data.value} label={`${words.request}, ${words.body}`} />
          )}
        </Part>
      </Side>
      <Side title={words.response} note={attempt.statusCode == null ? undefined : `${attempt.responseTimeMs} ms`}>
        {attempt.errorMessage != null && <p className={styles.error}>{visibleText(attempt.errorMessage)}</p>}
        {attempt.statusCode == null ? (
          <p className={styles.none}>{words.noResponse}</p>
        ) : (
          <>
            <p className={styles.line}>HTTP {attempt.statusCode}</p>
            <Headers headers={attempt.responseHeaders} />
            <Part title={words.body} note={attempt.responseBodyTruncated ? words.truncated : undefined}>
              <Body text={attempt.responseBody ?? ''} label={`${words.response}, ${words.body}`} />
            </Part>
          </>
        )}
      </Side>
    </div>
  );
}

type PartProps = { readonly title: string; readonly note?: string | undefined; readonly children: ReactNode };

function Side({ title, note, children }: PartProps) {
  return (
    <section className={styles.side} aria-label={title}>
      <div className={styles.head}>
        <h3>{title}</h3>
        <span>{note}</span>
      </div>
      {children}
    </section>
  );
}

function Part({ title, note, children }: PartProps) {
  return (
    <div className={styles.part}>
      <div className={styles.head}>
        <h4>{title}</h4>
        <span>{note}</span>
      </div>
      {children}
    </div>
  );
}

function Headers({ headers }: { readonly headers: unknown }) {
  const lines = headerLines(headers);
  if (lines.length === 0) return null;
  return (
    <details className={styles.headers} open={lines.length <= 12}>
      <summary>
        {words.headers} <span>{lines.length}</span>
      </summary>
      <dl>
        {lines.map(({ name, value }, index) => (
          <div key={index}>
            <dt>{visibleLine(name)}</dt>
            <dd>{visibleLine(value)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
