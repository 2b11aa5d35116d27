import { type ReactNode, useState } from 'react';
import type { AttemptDetailsFragment } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { Button } from '../ui/button.tsx';
import { bytes } from '../ui/format.ts';
import { Id } from '../ui/id.tsx';
import { RedactionSwitch } from '../ui/redaction-switch.tsx';
import { describeError } from '../ui/states.tsx';
import { Body } from '../ui/text-block.tsx';
import { visibleLine, visibleText } from '../ui/visible-text.ts';
import styles from './attempt-view.module.css';
import { headerLines } from './curl.ts';
import { verifySignatureWords } from './messages.ts';
import { useRequestBody } from './use-request-body.ts';
import { VerifySignature } from './verify-signature.tsx';

const words = messages.delivery;

/** Request and response of one attempt, side by side on wide screens. */
export function AttemptView({ attempt }: { readonly attempt: AttemptDetailsFragment }) {
  const { seesPayloads, isAdmin } = useViewer();
  return (
    <div className={styles.sides}>
      <Side title={words.request} note={bytes(attempt.payloadSizeBytes)}>
        <p className={styles.line}>POST {visibleLine(attempt.url)}</p>
        {attempt.remoteAddress != null && (
          <p className={styles.signed}>
            {words.sentTo} <code>{visibleLine(attempt.remoteAddress)}</code>
          </p>
        )}
        <Headers headers={attempt.requestHeaders} />
        {attempt.signingSecretIds.length > 0 && <Signed attempt={attempt} />}
        <Part title={words.body} note={<RedactionSwitch />}>
          <RequestBody attemptId={attempt.id} />
        </Part>
      </Side>
      <Side title={words.response} note={attempt.statusCode == null ? undefined : `${attempt.responseTimeMs} ms`}>
        {attempt.errorMessage != null && <p className={styles.error}>{visibleText(attempt.errorMessage)}</p>}
        {attempt.failureReason === 'BLOCKED_TARGET' && isAdmin && <p className={styles.none}>{words.blockedHint}</p>}
        {attempt.statusCode == null ? (
          <p className={styles.none}>{words.noResponse}</p>
        ) : (
          <>
            <p className={styles.line}>HTTP {attempt.statusCode}</p>
            <p className={styles.signed}>{phasesOf(attempt.timing)}</p>
            <Headers headers={attempt.responseHeaders} />
            <Part title={words.body} note={attempt.responseBodyTruncated ? words.truncated : undefined}>
              {seesPayloads ? (
                <Body text={attempt.responseBody ?? ''} label={`${words.response}, ${words.body}`} />
              ) : (
                <p className={styles.none}>{messages.hidden}</p>
              )}
            </Part>
          </>
        )}
      </Side>
    </div>
  );
}

/** The secrets that signed the request, and what verifies it. */
function Signed({ attempt: { id: attemptId, signingSecretIds } }: { readonly attempt: AttemptDetailsFragment }) {
  const { seesPayloads } = useViewer();
  const [isVerifying, setVerifying] = useState(false);
  return (
    <div className={styles.signed}>
      {words.signedWith}{' '}
      {signingSecretIds.map((id) => (
        <Id key={id} value={id} />
      ))}
      {/* The server refuses it to sessions that may not see bodies. */}
      {seesPayloads && (
        <Button kind="quiet" onClick={() => setVerifying(true)}>
          {verifySignatureWords.title}
        </Button>
      )}
      {isVerifying && <VerifySignature attemptId={attemptId} onClose={() => setVerifying(false)} />}
    </div>
  );
}

function RequestBody({ attemptId }: { readonly attemptId: string }) {
  const { seesPayloads } = useViewer();
  const body = useRequestBody(attemptId);
  if (body.state === 'loading') return <p className={styles.none}>{messages.loading}</p>;
  if (body.state === 'failed') return <p className={styles.error}>{visibleText(describeError(body.error))}</p>;
  if (body.state === 'none') return <p className={styles.none}>{seesPayloads ? words.eventGone : messages.hidden}</p>;
  return <Body text={body.body} label={`${words.request}, ${words.body}`} />;
}

/** The phases that took place, such as "connect 12 ms · first byte 40 ms". */
function phasesOf(timing: AttemptDetailsFragment['timing']): string {
  return PHASES.flatMap((phase) => {
    const ms = timing[phase];
    return ms == null ? [] : [words.phase[phase](ms)];
  }).join(' · ');
}

const PHASES = ['dnsMs', 'connectMs', 'tlsMs', 'firstByteMs', 'bodyMs'] as const;

type PartProps = { readonly title: string; readonly note?: ReactNode; readonly children: ReactNode };

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
