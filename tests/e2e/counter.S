/* counter.S - a guest of one boot sector that counts aloud and checks its memory.
 *
 * Its output shows whether a guest continued from exactly where it stopped. It writes "B" to the serial
 * port when it boots. Then, for ever, it adds one to a counter, writes the counter to the next of 256
 * pages from 1 MiB on, and checks that the page written 255 rounds before still holds its value. Each
 * round it writes "\n" and the counter as 8 hexadecimal digits, or "X" instead of "\n" if a page was wrong.
 * Build: gcc -m32 -c, objcopy -O binary.
 */
	.code16
start:	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	gdt_at + 0x7c00
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$8, $flat + 0x7c00

	.code32
flat:	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movl	$0x7000, %esp
	movb	$'B', %al
	call	put
	xorl	%ebx, %ebx
round:	incl	%ebx
	movl	%ebx, %edi
	andl	$255, %edi
	shll	$12, %edi
	movl	%ebx, 0x100000(%edi)
	movb	$'\n', %al
	cmpl	$256, %ebx
	jb	say
	leal	1(%ebx), %edi
	andl	$255, %edi
	shll	$12, %edi
	movl	0x100000(%edi), %edx
	addl	$255, %edx
	cmpl	%ebx, %edx
	je	say
	movb	$'X', %al
say:	call	put
	movl	%ebx, %edx
	movl	$8, %ecx
digit:	roll	$4, %edx
	movb	%dl, %al
	andb	$15, %al
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	have
	addb	$39, %al
have:	call	put
	loop	digit
	movl	$2000000, %ecx
pause:	loop	pause
	jmp	round

put:	pushl	%edx
	pushl	%eax
	movw	$0x3fd, %dx
full:	inb	%dx, %al
	testb	$0x20, %al
	jz	full
	popl	%eax
	movw	$0x3f8, %dx
	outb	%al, %dx
	popl	%edx
	ret

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff /* code, flat */
	.quad	0x00cf92000000ffff /* data, flat */
gdt_at:	.word	23
	.long	gdt + 0x7c00

	.org	510
	.word	0xaa55
