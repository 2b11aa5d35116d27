import { useEffect, useState } from 'react';
import { messages } from '../messages.ts';
import { Button, IconButton } from './button.tsx';
import type { IconName } from './icons.tsx';
import { announce } from './live-region.tsx';

/** Copies and says so for 1.5 s. */
export function useCopy(): { readonly isCopied: boolean; readonly copy: (text: string) => Promise<void> } {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return undefined;
    const timer = window.setTimeout(() => setCopied(false), 1_500);
    return () => window.clearTimeout(timer);
  }, [isCopied]);
  const copy = async (text: string) => {
    if (await copyText(text)) setCopied(true);
  };
  return { isCopied, copy };
}

/** Announces whether it worked, and returns it. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    announce(messages.copied);
    return true;
  } catch {
    // Pages over plain HTTP from another machine have no clipboard.
    announce(messages.copyFailed);
    return false;
  }
}

type CopyIconProps = { readonly text: string; readonly label: string; readonly autoFocus?: boolean };

export function CopyIcon({ text, ...rest }: CopyIconProps) {
  const { isCopied, copy } = useCopy();
  return <IconButton {...rest} icon={isCopied ? 'success' : 'copy'} onClick={() => copy(text)} />;
}

type CopyButtonProps = { readonly text: string; readonly children: string; readonly icon?: IconName };

export function CopyButton({ text, children, icon = 'copy' }: CopyButtonProps) {
  const { isCopied, copy } = useCopy();
  return (
    <Button icon={isCopied ? 'success' : icon} onClick={() => copy(text)}>
      {isCopied ? messages.copied : children}
    </Button>
  );
}
