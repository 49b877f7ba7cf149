/* dirtier.S - a guest of one boot sector that does nothing but dirty memory.
 *
 * The tests need a guest with a known working set and no kernel to boot. This one writes a new number
 * to the first word of each of `n_pages` pages from 1 MiB on, round after round.
 * The test writes the wanted number of pages at offset 500 of the image (little-endian).
 * Build: gcc -c, objcopy -O binary.
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
	movw	%ax, %es
	movw	%ax, %ss
	xorl	%ebx, %ebx
round:	incl	%ebx
	movl	n_pages + 0x7c00, %ecx
	movl	$0x100000, %edi
page:	movl	%ebx, (%edi)
	addl	$4096, %edi
	loop	page
	jmp	round

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff /* code, flat */
	.quad	0x00cf92000000ffff /* data, flat */
gdt_at:	.word	23
	.long	gdt + 0x7c00

	.org	500
n_pages: .long	1024
	.org	510
	.word	0xaa55
