import { useState } from 'react';
import { ExpireSecretDocument, RotateSecretDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { Button } from '../ui/button.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { CopyButton } from '../ui/copy.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField } from '../ui/field.tsx';
import { Id } from '../ui/id.tsx';
import { Mark } from '../ui/outcome.tsx';
import { Section } from '../ui/section.tsx';
import { ShownOnce } from '../ui/shown-once.tsx';
import { Table } from '../ui/table.tsx';
import { Countdown, Time, useNow } from '../ui/time.tsx';
import { subscriptionWords, usageInWords, secretsWords as words } from './messages.ts';
import styles from './secrets-section.module.css';
import { signingSecrets } from './signing-secrets.ts';
import type { SubscriptionDetails } from './subscription-page.tsx';

type SecretsProps = { readonly subscription: Pick<SubscriptionDetails, 'id' | 'secrets'> };

/** The secrets that sign, each with the outcomes of the requests that it signed and the end of its overlap. */
export function SecretsSection({ subscription }: SecretsProps) {
  const { canWrite } = useViewer();
  const [isRotating, setRotating] = useState(false);
  const [expiring, setExpiring] = useState<string>();
  const secrets = signingSecrets(subscription.secrets, useNow());
  return (
    <Section
      title={words.title}
      hint={secrets.length > 1 ? words.hintOfSeveral : words.hint}
      actions={
        canWrite && (
          <Button icon="replay" onClick={() => setRotating(true)}>
            {words.rotate}
          </Button>
        )
      }
    >
      <Table
        label={words.title}
        head={[
          messages.columns.status,
          words.usage,
          subscriptionWords.lastAttempt,
          words.ends,
          messages.columns.created,
          messages.columns.id,
        ]}
        rows={secrets.map((secret) => ({
          key: secret.id,
          cells: [
            secret.expiresAt == null ? (
              <Mark key="state" tone="success">
                {words.current}
              </Mark>
            ) : (
              <Mark key="state" tone="waiting">
                {words.overlap}
              </Mark>
            ),
            usageInWords(secret.usage),
            secret.usage.lastAttemptAt == null ? messages.none : <Time key="last" at={secret.usage.lastAttemptAt} />,
            secret.expiresAt == null ? (
              messages.none
            ) : (
              <span key="ends" className={styles.ends}>
                <Countdown to={secret.expiresAt} />
                {canWrite && (
                  <Button kind="quiet" onClick={() => setExpiring(secret.id)}>
                    {words.expire}
                  </Button>
                )}
              </span>
            ),
            <Time key="created" at={secret.createdAt} />,
            <Id key="id" value={secret.id} />,
          ],
        }))}
      />
      {expiring !== undefined && (
        <Expire id={subscription.id} secretId={expiring} onClose={() => setExpiring(undefined)} />
      )}
      {isRotating && <Rotate id={subscription.id} onClose={() => setRotating(false)} />}
    </Section>
  );
}

type ExpireProps = { readonly id: string; readonly secretId: string; readonly onClose: () => void };

function Expire({ id, secretId, onClose }: ExpireProps) {
  const action = useAction(ExpireSecretDocument, (data) => data.expireSigningSecret);
  return (
    <Confirm
      title={words.expireTitle}
      confirm={words.expire}
      action={action}
      onClose={onClose}
      onConfirm={async () => {
        if ((await action.run({ id, secretId })) !== undefined) onClose();
      }}
    >
      {words.expireHint}
    </Confirm>
  );
}

const OVERLAPS = [86_400, 3_600, 604_800, 0];

function Rotate({ id, onClose }: { readonly id: string; readonly onClose: () => void }) {
  const [overlap, setOverlap] = useState(String(OVERLAPS[0]));
  const [secret, setSecret] = useState<string>();
  const action = useAction(RotateSecretDocument, (data) => data.rotateWebhookSecret);
  const rotate = async () => {
    const payload = await action.run({ id, overlapSeconds: Number(overlap) });
    if (payload !== undefined) setSecret(payload.secret);
  };
  if (secret !== undefined) {
    return (
      <Dialog title={words.rotated} onClose={onClose}>
        <Form
          onSubmit={onClose}
          failure={undefined}
          actions={
            <>
              <CopyButton text={verifySnippet()}>{words.copySnippet}</CopyButton>
              <Button kind="primary" type="submit">
                {messages.done}
              </Button>
            </>
          }
        >
          <ShownOnce label={words.newSecret} value={secret} hint={words.shownOnce} />
        </Form>
      </Dialog>
    );
  }
  return (
    <Dialog title={words.rotate} onClose={onClose}>
      <Form
        onSubmit={rotate}
        failure={action.failure}
        actions={<FormButtons submit={words.rotate} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <SelectField
          label={words.overlapLabel}
          hint={words.overlapHint}
          value={overlap}
          onChange={setOverlap}
          options={OVERLAPS.map((seconds) => ({ value: String(seconds), name: words.overlapOf(seconds) }))}
        />
      </Form>
    </Dialog>
  );
}

/** Without the secret, which belongs into the receiver's configuration and not into its code. */
function verifySnippet(): string {
  return [
    "import { Webhook } from 'standardwebhooks';",
    '',
    'const webhook = new Webhook(process.env.WEBHOOK_SECRET);',
    '// Throws unless the signature is right. `body` is the raw request body.',
    'const event = webhook.verify(body, request.headers);',
    '',
  ].join('\n');
}
