import { useState } from 'react';
import type { Action, InputProblem } from '../graphql/use-action.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, TextField } from '../ui/field.tsx';
import { replaysWords as words } from './messages.ts';
import { readRate } from './replay-form.ts';

type ChangeRateProps = {
  /** The present rate. */
  readonly rate: number;
  readonly action: Pick<Action<never, object>, 'isRunning' | 'failure'>;
  /** Undefined: the action failed. */
  readonly run: (ratePerSecond: number) => Promise<object | undefined>;
};

/** A button that changes the rate of a running replay or job. */
export function ChangeRate(props: ChangeRateProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button onClick={() => setOpen(true)}>{words.changeRate}</Button>
      {isOpen && <RateForm {...props} onClose={() => setOpen(false)} />}
    </>
  );
}

function RateForm({ rate, action, run, onClose }: ChangeRateProps & { readonly onClose: () => void }) {
  const [text, setText] = useState(String(rate));
  const [ownProblems, setOwnProblems] = useState<readonly InputProblem[]>([]);
  const submit = async () => {
    const { ratePerSecond, problems } = readRate(text);
    setOwnProblems(problems);
    if (problems.length === 0 && (await run(ratePerSecond)) !== undefined) onClose();
  };
  return (
    <Dialog title={words.changeRate} onClose={onClose}>
      <Form
        onSubmit={() => void submit()}
        failure={action.failure}
        actions={<FormButtons submit={words.changeRate} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <TextField
          label={words.rate}
          hint={words.changeRateHint}
          path="ratePerSecond"
          problems={[...ownProblems, ...(action.failure?.problems ?? [])]}
          inputMode="numeric"
          value={text}
          onChange={setText}
        />
      </Form>
    </Dialog>
  );
}
