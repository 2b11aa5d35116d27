import { useState } from 'react';
import type { AttemptDetailsFragment } from '../generated/graphql.ts';
import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { preferences } from '../shell/preferences.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Diff } from '../ui/diff.tsx';
import { SelectField } from '../ui/field.tsx';
import { attemptText } from './attempt-text.ts';
import { compareAttemptsWords as words } from './messages.ts';

type CompareAttemptsProps = {
  /** Newest first. */
  readonly attempts: readonly AttemptDetailsFragment[];
  readonly selected: AttemptDetailsFragment;
};

/** Nothing for a delivery with one attempt. */
export function CompareAttempts({ attempts, selected }: CompareAttemptsProps) {
  const [isOpen, setOpen] = useState(false);
  if (attempts.length < 2) return null;
  return (
    <>
      <Button onClick={() => setOpen(true)}>{words.title}</Button>
      {isOpen && (
        <Dialog title={words.title} onClose={() => setOpen(false)}>
          <Comparison attempts={attempts} selected={selected} />
        </Dialog>
      )}
    </>
  );
}

/** The selected attempt and another one, at first the one before it, as one text in the order of their numbers. */
function Comparison({ attempts, selected }: CompareAttemptsProps) {
  const { hidesValues } = useStore(preferences);
  const others = attempts.filter(({ id }) => id !== selected.id);
  const [otherId, setOtherId] = useState<string>();
  const previous = others.find(({ number }) => number < selected.number) ?? others.at(-1);
  const other = others.find(({ id }) => id === otherId) ?? previous;
  if (other === undefined) return null;
  const [before, after] = other.number < selected.number ? [other, selected] : [selected, other];
  return (
    <>
      <SelectField
        label={words.compareWith(selected.number)}
        value={other.id}
        onChange={setOtherId}
        options={others.map(({ id, number }) => ({ value: id, name: messages.delivery.attemptNumber(number) }))}
      />
      <Diff
        label={words.difference(before.number, after.number)}
        before={attemptText(before, hidesValues)}
        after={attemptText(after, hidesValues)}
        words={{
          removed: messages.delivery.attemptNumber(before.number),
          added: messages.delivery.attemptNumber(after.number),
        }}
      />
      <p>{words.hint(before.number, after.number)}</p>
    </>
  );
}
