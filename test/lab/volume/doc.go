// Package volume keeps size-limited disks for a lab's pods in plain files.
//
// One xfs pool with reflinks lies in one sparse file. Each volume is a sparse file in the pool, formatted xfs and
// mounted by a loop device of its own, so that "no space left on device", a slow disk and a hung disk are the kernel's
// real ones, and df in a pod shows the volume's size to the byte. Snapshots and clones are reflinks.
//
// The tree below a store's directory:
//
//	lock                  held by the process that has the store open
//	pool.xfs              the pool's sparse file, mounted at pool/
//	pool/volumes/         NAME.xfs (the disk) and NAME.json (its record)
//	pool/snapshots/       NAME.xfs and NAME.json
//	mounts/NAME/          the volume's file system
//	mounts/NAME/data/     what a pod gets
//
// The directory itself is a shared mount, so that nodes, which are mount namespaces, follow what is mounted in it.
//
// A pod gets the folder data and not the root of the file system for two reasons: where a mount did not reach a node
// the folder is missing and the pod does not start, instead of writing to the machine's own disk; and what the store
// itself puts on the volume (the file that fills it) is not in the pod's way.
//
// The mount table and the loop devices are the only truth about what is mounted: nothing of it is remembered in the
// process, so a store opened after a killed process finds everything where it was, and [CleanUp] needs no record.
//
// Everything here needs root. The package knows nothing of Kubernetes.
package volume
