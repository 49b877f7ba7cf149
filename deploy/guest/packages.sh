# packages.sh - copies programs of Debian's packages into a guest's image. The packages are unpacked
# into a cache, and never installed.
#
# build-workload-image and build-disk-image source this file (bash). They set PACKAGES (names of
# packages), CACHE (the cache's directory) and die().
#
#      packages_get workload         print the directory with the unpacked packages
#      packages_copy DIR ROOT LIST   copy programs from DIR into ROOT, with the libraries that they
#                                    need; LIST has one line "FROM TO" for each program
#
# The directory with the unpacked packages is named by a hash of their names and versions.
readonly LIBS=lib/x86_64-linux-gnu

# Print "name=version" of each package as apt would download it, one per line. Because apt-cache
# takes about a second, its answer is cached until apt has new lists.
packages_versions()
{
	local known

	known=$CACHE/versions-$(cksum <<<"$PACKAGES" | cut -d' ' -f1)
	# shellcheck disable=SC2086 # several arguments
	[[ -s $known && $known -nt /var/lib/apt/lists ]] || apt-cache show --no-all-versions $PACKAGES 2>/dev/null |
		awk '$1 == "Package:" { name = $2 } $1 == "Version:" { print name "=" $2 }' | sort >"$known"
	cat "$known"
}

# Print the directory with the unpacked packages. Download them if the cache lacks them.
packages_get() # SET
{
	local list dir work deb

	list=$(packages_versions)
	if (( $(wc -l <<<"$list") < $(wc -w <<<"$PACKAGES") )); then
		apt-get -q update >&2 || true
		list=$(packages_versions)
	fi
	dir=$CACHE/$1-$(sha256sum <<<"$list" | cut -c 1-16)
	# If apt has no package lists (no network), use the newest set in the cache.
	[[ -n $list ]] || dir=$(find "$CACHE" -maxdepth 1 -name "$1-*" -printf '%T@ %p\n' | sort -n |
		tail -n 1 | cut -d' ' -f2)
	if [[ ! -f $dir/complete ]]; then
		[[ -n $list ]] || die "no package lists; run apt-get update"
		echo "${0##*/}: downloading $(wc -l <<<"$list") packages" >&2
		work=$(mktemp -d "$CACHE/tmp.XXXXXX")
		chmod 755 "$work" # lets apt's own user enter
		# shellcheck disable=SC2086 # several arguments
		if ! (cd "$work" && apt-get -q -o APT::Sandbox::User=root download $list) >&2; then
			rm -rf "$work"
			die "cannot download the packages (apt-get's message is above)"
		fi
		for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/root" || die "cannot unpack $deb"; done
		touch "$work/root/complete"
		rm -rf "$dir"
		mv "$work/root" "$dir"
		rm -rf "$work"
	fi
	echo "$dir"
}

# Find all libraries in the packages that FILE needs, directly or through other libraries. Set
# LIBRARY[soname] to each library's path.
declare -A LIBRARY=()
packages_libraries() # DIR FILE
{
	local name path dir

	while read -r name; do
		[[ -z ${LIBRARY[$name]:-} ]] || continue
		path=''
		for dir in "$LIBS" usr/$LIBS; do
			[[ ! -e $1/$dir/$name ]] || path=$1/$dir/$name
		done
		[[ -n $path ]] || die "$2 needs $name, which no package in PACKAGES has"
		LIBRARY[$name]=$path
		packages_libraries "$1" "$path"
	done < <(readelf -d "$2" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
}

packages_copy() # DIR ROOT PROGRAMS
{
	local path name

	mkdir -p "$2/lib64" "$2/$LIBS"
	while read -r path name; do
		mkdir -p "$2/$(dirname "$name")"
		cp -L "$1/$path" "$2/$name"
		packages_libraries "$1" "$1/$path"
	done <<<"$3"
	for name in "${!LIBRARY[@]}"; do cp -L "${LIBRARY[$name]}" "$2/$LIBS/$name"; done
	cp -L "$1/$LIBS/ld-linux-x86-64.so.2" "$2/lib64/"
}
